"""The same bytes from Prism, Beam's local engine in Go; its workers run in the process that submits (LOOPBACK)."""

from collections.abc import Iterator

import pytest
from command import SMALL, maskmill
from engines import Servers, free_port, go_program, outside

pytestmark = pytest.mark.flink


@pytest.fixture(scope="module")
def job_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    prism, port = go_program("go/cmd/prism"), free_port()
    with Servers(tmp_path_factory.mktemp("prism")) as servers:
        servers.start("prism", [prism, f"--job_port={port}", "--serve_http=false"], outside(), port)
        yield f"localhost:{port}"


def test_prism_gives_the_bytes_of_a_local_run(tmp_path, corpus_file, small_vocab_file, job_endpoint):
    runner, beam = ["--runner", "portable", "--job-endpoint", job_endpoint], ["--", "--environment_type=LOOPBACK"]
    made = {}
    for name, runner_options, beam_options in (("here", [], []), ("there", runner, beam)):
        options = ["--output", tmp_path / name, "--vocab-file", small_vocab_file, *SMALL, "--eval-fraction", 0.2]
        result = maskmill("generate", corpus_file, *runner_options, *options, *beam_options)
        assert result.returncode == 0, result.stderr
        made[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.name != "run.json"}
    assert made["here"] == made["there"]
    for name, runner_options, beam_options in (("here.txt", [], []), ("there.txt", runner, beam)):
        options = ["--output", tmp_path / name, "--vocab-size", 90]
        result = maskmill("vocab", corpus_file, *runner_options, *options, *beam_options)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "here.txt").read_bytes() == (tmp_path / "there.txt").read_bytes()
