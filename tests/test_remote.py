"""The same bytes from a Beam job server; its workers run in this process (LOOPBACK)."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from command import SMALL, assert_refused, maskmill

LOOPBACK = ["--", "--environment_type=LOOPBACK"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def job_endpoint(tmp_path_factory) -> Iterator[str]:
    """A job server, on loopback, that runs what it is given by itself."""
    port = free_port()
    command = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", "--port", str(port)]
    server = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("server"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        assert server.poll() is None
        assert time.monotonic() < deadline
        try:
            socket.create_connection(("localhost", port)).close()
            break
        except OSError:
            time.sleep(0.1)
    yield f"localhost:{port}"
    server.terminate()
    server.wait()


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def test_a_job_server_gives_the_bytes_of_a_local_run(tmp_path, corpus_file, small_vocab_file, job_endpoint):
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint]
    made = {}
    for name, options, beam_options in (("here", [], []), ("there", remote, LOOPBACK)):
        folder = tmp_path / name
        options = [*options, "--output", folder, "--vocab-file", small_vocab_file, *SMALL, "--eval-fraction", 0.2]
        result = maskmill("generate", corpus_file, *options, *beam_options)
        assert result.returncode == 0, result.stderr
        made[name] = files_of(folder)
    assert made["here"] == made["there"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def test_a_job_server_gives_the_vocabulary_of_a_local_run(tmp_path, corpus_file, job_endpoint):
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint]
    for name, options, beam_options in (("here.txt", [], []), ("there.txt", remote, LOOPBACK)):
        options = [*options, "--output", tmp_path / name, "--vocab-size", 90]
        result = maskmill("vocab", corpus_file, *options, *beam_options)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "here.txt").read_bytes() == (tmp_path / "there.txt").read_bytes()


def test_an_error_there_is_one_sentence(tmp_path, corpus_file, small_vocab_file, job_endpoint):
    (tmp_path / "cut.txt.gz").write_bytes(b"\x1f\x8b\x08\x00\x00\x00")
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint, "--vocab-file", small_vocab_file]
    files = [*[corpus_file] * 9, tmp_path / "cut.txt.gz"]
    for number, file in enumerate(files):
        (tmp_path / f"{number}.txt").write_bytes(file.read_bytes())
    arguments = [tmp_path / f"{number}.txt" for number in range(len(files))]
    result = maskmill("generate", *arguments, "--output", tmp_path / "out", *remote, *LOOPBACK)
    assert_refused(result, "9.txt is cut off or damaged near byte 6 of 6")


def test_a_job_server_that_is_not_there_is_named(tmp_path, corpus_file, small_vocab_file):
    remote = ["--runner", "portable", "--job-endpoint", f"localhost:{free_port()}", "--vocab-file", small_vocab_file]
    result = maskmill("generate", corpus_file, "--output", tmp_path / "out", *remote, *LOOPBACK)
    assert_refused(result, "job_endpoint localhost:", "does not answer", "start it, or check host and port")
    result = maskmill("generate", corpus_file, "--output", tmp_path / "out", *remote[:2], *remote[4:])
    assert_refused(result, "--runner portable needs --job-endpoint HOST:PORT", exit_code=2)
    result = maskmill("generate", corpus_file, "--output", tmp_path / "out", *remote, "--num-workers", 2)
    assert_refused(result, "--num-workers 2 is for this machine", exit_code=2)
    result = maskmill("generate", corpus_file, "--output", tmp_path / "out", *remote[4:], *LOOPBACK)
    assert_refused(
        result, "--environment_type=LOOPBACK is given without --runner flink, dataflow, portable", exit_code=2
    )
