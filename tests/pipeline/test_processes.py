"""Worker processes: a kill of what they are forked from is one sentence, wherever the temporary folder is."""

import pytest

from maskmill.deploy.engines.local import LocalRunner
from maskmill.pipeline.analysis import measuring
from maskmill.pipeline.jobs.jobs import MeasureCorpus
from maskmill.pipeline.processes import WorkerLostError, fork_server
from maskmill.pipeline.reading.documents import ReadOptions


class Killed:
    """A fork server that ends while it starts a worker."""

    def start(self):
        raise EOFError


def test_a_fork_server_that_is_killed_is_a_lost_worker(monkeypatch):
    context = fork_server()
    monkeypatch.setattr(type(context), "Process", lambda *_, **__: Killed())
    with pytest.raises(WorkerLostError, match=r"a worker process was killed, .*; give a smaller --num-workers"):
        LocalRunner(2).run([MeasureCorpus([], ReadOptions())] * 2)
    with pytest.raises(WorkerLostError):
        list(measuring.map_shards(len, None, [None, None], num_workers=2))


def test_workers_start_under_a_temporary_folder_with_a_long_path(tmp_path, monkeypatch):
    folder = tmp_path / ("long" * 20)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    process = fork_server().Process(target=abs, args=(1,))
    process.start()
    process.join()
    assert process.exitcode == 0
