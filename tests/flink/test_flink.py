"""The same bytes from a Flink cluster, also where a TaskManager or a worker is killed in the middle.

`make test-flink` runs this; `make test` does not.
"""

import os
import random
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from command import SMALL, assert_refused, maskmill
from engines import Servers, wait_until
from flink_cluster import FlinkCluster, job_server_jar
from small_classifier import rows, write_csv, write_model

from maskmill.deploy.tasks.predict_part import PART_BYTES

pytestmark = pytest.mark.flink

SHARED = Path("/work/shared/corpus/books_sentences.txt.gz")
WORDS = 2_000
MINUTE = 60
SHARDS_PER_COPY = 24
MANY = ["--dupe-factor", 10, "--shards-per-copy", SHARDS_PER_COPY, "--eval-fraction", 0.05]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    with Servers(tmp_path_factory.mktemp("flink")) as servers:
        cluster = FlinkCluster(servers)
        for _ in range(2):
            cluster.start_task_manager()
        cluster.start_job_server()
        yield cluster
        log = "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(servers.folder.glob("*.log")))
    assert not servers.processes(), log


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 17 MB of text: enough that a run can be hurt in its middle."""
    if SHARED.exists():
        return SHARED
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(WORDS)]
    path = tmp_path_factory.mktemp("books") / "books.txt"
    with path.open("w") as file:
        for _ in range(1_000):
            for _ in range(150):
                file.write(" ".join(rng.choices(words, k=rng.randint(8, 25))) + " .\n")
            file.write("\n")
    return path


@pytest.fixture(scope="module")
def vocab_file(tmp_path_factory: pytest.TempPathFactory, books: Path) -> Path:
    """The vocabulary of a local run."""
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    succeed("vocab", books, "--output", path, "--vocab-size", 8_000)
    return path


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, books: Path, vocab_file: Path) -> dict[str, bytes]:
    """What a local run makes."""
    folder = tmp_path_factory.mktemp("here") / "out"
    succeed("generate", books, "--output", folder, "--vocab-file", vocab_file, *MANY)
    return files_of(folder)


def succeed(*arguments: object) -> None:
    result = maskmill(*arguments)
    assert result.returncode == 0, result.stderr


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def test_tokens_are_made_and_read_there(cluster, books, vocab_file, local, tmp_path):
    runner, workers = ["--runner", "flink", "--job-endpoint", cluster.job_endpoint], ["--", *cluster.worker_options]
    options = ["--output", tmp_path / "tokens", "--vocab-file", vocab_file, "--format", "tokens", *MANY]
    succeed("generate", books, *runner, *options, *workers)
    succeed("generate", tmp_path / "tokens", *runner, "--output", tmp_path / "out", *workers)
    assert files_of(tmp_path / "out") == local


class Run(threading.Thread):
    """`maskmill generate` on the cluster, beside the test."""

    def __init__(self, cluster: FlinkCluster, books: Path, vocab_file: Path, output: Path):
        super().__init__()
        self.output = output
        runner = ["--runner", "flink", "--job-endpoint", cluster.job_endpoint]
        self.arguments = [books, *runner, "--output", output, "--vocab-file", vocab_file, *MANY]
        self.arguments += ["--", *cluster.worker_options]
        self.result: subprocess.CompletedProcess[str] | None = None

    def run(self) -> None:
        self.result = maskmill("generate", *self.arguments)

    def finished_shards(self) -> int:
        return len(list(self.output.glob(".unfinished/*.tfrecord.json")))

    def reach_the_middle(self) -> None:
        """Waits until some shards are finished, and asserts that others are not."""
        self.start()
        wait_until(lambda: self.finished_shards() >= SHARDS_PER_COPY or self.result, "shards are made", 6 * MINUTE)
        assert self.result is None, self.result.stderr
        assert self.finished_shards() < 7 * SHARDS_PER_COPY, "too fast to be hurt in its middle"

    def end(self) -> None:
        """Waits for the end, which must be a good one."""
        self.join(8 * MINUTE)
        assert self.result is not None, "it hangs"
        assert self.result.returncode == 0, self.result.stderr


def test_flink_gives_the_vocabulary_of_a_local_run(tmp_path, books, vocab_file, cluster):
    runner = ["--runner", "flink", "--job-endpoint", cluster.job_endpoint]
    path = tmp_path / "vocab.txt"
    succeed("vocab", books, *runner, "--output", path, "--vocab-size", 8_000, "--", *cluster.worker_options)
    assert path.read_bytes() == vocab_file.read_bytes()
    assert not (failures := cluster.failures()), "\n".join(failures)


def test_flink_gives_the_predictions_of_a_local_run(tmp_path, cluster):
    write_model(tmp_path / "model", random_seed=2)
    labelled = write_csv(tmp_path / "labelled.csv", rows(60))
    model = ["--model-dir", tmp_path / "model", "--output", tmp_path / "classifier", "--max-seq-length", 32]
    succeed("finetune", labelled, *model, "--num-train-epochs", 1)
    table = write_csv(tmp_path / "new.csv", rows(8_000))
    assert table.stat().st_size > 2 * PART_BYTES
    command = ["predict", table, "--model-dir", tmp_path / "classifier", "--output"]
    succeed(*command, tmp_path / "here.csv")
    runner = ["--runner", "flink", "--job-endpoint", cluster.job_endpoint]
    succeed(*command, tmp_path / "there.csv", *runner, "--", *cluster.worker_options)
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert not (failures := cluster.failures()), "\n".join(failures)


def test_a_lost_task_manager_changes_nothing(tmp_path, books, vocab_file, local, cluster):
    run = Run(cluster, books, vocab_file, tmp_path / "out")
    failures = cluster.failures()
    run.reach_the_middle()
    left_behind = cluster.lose(cluster.task_managers[0])
    assert left_behind
    cluster.start_task_manager()
    run.end()
    assert len(cluster.failures()) > len(failures)
    assert files_of(tmp_path / "out") == local
    cluster.servers.end(left_behind)


def test_killed_workers_change_nothing(tmp_path, books, vocab_file, local, cluster):
    run = Run(cluster, books, vocab_file, tmp_path / "out")
    failures = cluster.failures()
    run.reach_the_middle()
    for worker in cluster.workers():  # all, because those of stages that are over may still be there
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    run.end()
    assert len(cluster.failures()) > len(failures)
    assert files_of(tmp_path / "out") == local


def test_the_master_alone_is_enough_where_there_is_a_jar(tmp_path, corpus_file, small_vocab_file, cluster):
    jar = ["--flink_version=1.19", f"--flink_job_server_jar={job_server_jar()}"]
    options = ["--vocab-file", small_vocab_file, *SMALL, "--eval-fraction", 0.2]
    succeed("generate", corpus_file, *options, "--output", tmp_path / "here")
    master = ["--runner", "flink", "--flink-master", cluster.master, "--output", tmp_path / "there"]
    succeed("generate", corpus_file, *options, *master, "--", *jar, *cluster.worker_options)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def test_a_worker_that_cannot_be_started_is_one_sentence(tmp_path, corpus_file, small_vocab_file, cluster):
    wrong = ["--environment_type=PROCESS", '--environment_config={"command": "/no/such/boot"}']
    runner = ["--runner", "flink", "--job-endpoint", cluster.job_endpoint, "--output", tmp_path / "out"]
    result = maskmill("generate", corpus_file, "--vocab-file", small_vocab_file, *runner, "--", *wrong)
    assert_refused(result, "the job failed on job_endpoint localhost:", "No such file or directory; see its log")
