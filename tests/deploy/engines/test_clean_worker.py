"""The same bytes from workers as Dataflow starts them: Beam's own boot program in an environment that holds only
apache-beam, in an empty folder. All else comes with the source package that Beam stages, and with its setup.py.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import SMALL, run
from engines import (
    BEAM_VERSION,
    Servers,
    beam_environment,
    boot_script,
    free_port,
    layer_over,
    outside,
    site_packages,
    succeed,
    wheels_of_core,
)
from own_modules import write_own_modules
from places import ROOT


class CleanWorkers:
    """A job server and workers that Beam's boot program starts."""

    def __init__(self, python: Path, folder: Path, env: dict[str, str], job_port: int, pool_port: int):
        self.python, self.folder, self.env = python, folder, env
        self.runner = ["--runner", "portable", "--job-endpoint", f"localhost:{job_port}"]
        self.beam = ["--", "--environment_type=EXTERNAL", f"--environment_config=localhost:{pool_port}"]

    def ask(self, code: str) -> str:
        """What Python prints in the workers' environment."""
        return succeed([self.python, "-c", code], cwd=self.folder, env=self.env).strip()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CleanWorkers]:
    folder = tmp_path_factory.mktemp("boot")
    boot = boot_script(folder / "boot.sh", f"environment={folder}/environment")
    environment = layer_over(site_packages(beam_environment()), folder / "environment")
    env = outside(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels_of_core()), TMPDIR=str(folder))
    empty = tmp_path_factory.mktemp("empty")
    workers = CleanWorkers(environment / "bin/python", empty, env, free_port(), free_port())
    assert workers.ask("import apache_beam; print(apache_beam.__version__)") == BEAM_VERSION
    for module in ("tokenizer", "pipeline", "isal", "sentencex", "google_crc32c"):
        assert workers.ask(f"from importlib.util import find_spec; print(find_spec('{module}'))") == "None", module
    with Servers(empty) as servers:
        job_server = ["-m", "apache_beam.runners.portability.local_job_service_main", "--port"]
        job_port, pool_port = (option.rsplit(":", 1)[1] for option in (workers.runner[-1], workers.beam[2]))
        servers.start("jobs", [workers.python, *job_server, job_port], env, int(job_port))
        pool = ["-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={pool_port}"]
        own = write_own_modules(folder / "own")  # of a user, on the path of the workers
        pool += [f"--container_executable={boot}"]
        servers.start("workers", [workers.python, *pool], {**env, "PYTHONPATH": str(own)}, int(pool_port))
        yield workers


def test_clean_workers_give_the_shards_of_a_local_run(tmp_path, corpus_file, small_vocab_file, clean):
    made = {}
    for name, runner, beam in (("here", [], []), ("there", clean.runner, clean.beam)):
        options = ["--output", tmp_path / name, "--vocab-file", small_vocab_file, *SMALL, "--eval-fraction", 0.2]
        run("generate", corpus_file, *runner, *options, *beam)
        made[name] = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir() if path.name != "run.json"}
    assert made["here"] == made["there"]
    # The workers' code is the package that was staged, not the checkout.
    assert clean.ask("import maskmill.pipeline; print(maskmill.pipeline.__file__)").startswith(
        os.path.dirname(clean.python.parent)
    )
    assert str(ROOT) not in clean.ask("import sys; print(sys.path)")


@pytest.mark.slow  # test_remote.py has the same with workers that are not clean
def test_clean_workers_give_the_vocabulary_of_a_local_run(tmp_path, corpus_file, clean):
    for name, runner, beam in (("here.txt", [], []), ("there.txt", clean.runner, clean.beam)):
        run("vocab", corpus_file, *runner, "--output", tmp_path / name, "--vocab-size", 90, *beam)
    assert (tmp_path / "here.txt").read_bytes() == (tmp_path / "there.txt").read_bytes()
