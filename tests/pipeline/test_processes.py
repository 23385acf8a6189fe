"""Worker processes: a kill of what they are forked from is one sentence, wherever the temporary folder is."""

from multiprocessing import active_children

import pytest
from worker_tasks import fail, work_on

from maskmill.deploy.engines.local import LocalRunner
from maskmill.pipeline.analysis import collecting_stats
from maskmill.pipeline.jobs.jobs import CountWords
from maskmill.pipeline.processes import WorkerPool, fork_server
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.tokenizer.errors import InputError, WorkerLostError


class Killed:
    """A fork server that ends while it starts a worker."""

    def start(self):
        raise EOFError


def test_a_fork_server_that_is_killed_is_a_lost_worker(monkeypatch):
    context = fork_server()
    monkeypatch.setattr(type(context), "Process", lambda *_, **__: Killed())
    with pytest.raises(WorkerLostError, match=r"a worker process was killed, .*; give a smaller --num-workers"):
        LocalRunner(2).run([CountWords([], ReadOptions(), cased=False)] * 2)
    with pytest.raises(WorkerLostError):
        list(collecting_stats.map_shards(len, [None, None], num_workers=2))


@pytest.mark.parametrize("is_renewed", [False, True])
def test_results_come_in_order_and_no_process_is_left(is_renewed):
    with WorkerPool(work_on, 2, is_renewed) as pool:
        results = list(pool.map(range(1, 7)))
        workers = {worker for _, worker in results}
    assert [task for task, _ in results] == list(range(1, 7))
    assert len(workers) == (6 if is_renewed else 2)
    assert not active_children()


@pytest.mark.parametrize(("task", "error"), [(13, InputError), (99, WorkerLostError)])
def test_an_error_ends_the_other_workers(task, error):
    for use in (WorkerPool.run, lambda pool, tasks: list(pool.map(tasks))):
        with pytest.raises(error) as caught, WorkerPool(work_on, 2) as pool:
            use(pool, [task, 1, 2, 3])
        assert getattr(caught.value, "path", None) == ("task" if task == 13 else None)
        assert not active_children()


@pytest.mark.parametrize(("task", "error"), [(1, RuntimeError), (0, MemoryError)])
def test_what_is_a_bug_comes_with_its_traceback(task, error):
    with pytest.raises(error) as caught, WorkerPool(fail, 2) as pool:
        pool.run([task])
    assert "in fail" in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_workers_start_under_a_temporary_folder_with_a_long_path(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    process = fork_server().Process(target=abs, args=(1,))
    process.start()
    process.join()
    assert process.exitcode == 0
