"""Runs DAGs elsewhere: on a runner of Beam's that takes jobs from a job server, such as Flink's.

Workers get the code as a source package that Beam stages and installs, and see the files under the same names.
"""

import logging
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.jobs import Job
from deploy.local import hold_back_stderr
from tokenizer.errors import InputError

SECONDS = 10  # for the job server to answer
SETUP_FILE = Path(__file__).resolve().parent.parent / "setup.py"

# What a runner makes of an error in a worker: a message that holds the traceback there.
WORKER_ERROR = re.compile(r"tokenizer\.errors\.InputError: (.*?)(?: \[while running|$)", re.MULTILINE)


@dataclass(frozen=True)
class RemoteRunner:
    """Submits jobs to a job server, one after the other, and waits for their end."""

    job_endpoint: str
    folder: Path  # that the workers see, too
    beam_options: Sequence[str] = ()
    num_workers = 1
    holds_pools = False

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs. Raises InputError where a step did, and where no job server answers."""
        options = ["--runner=PortableRunner", f"--job_endpoint={self.job_endpoint}", f"--job_server_timeout={SECONDS}"]
        options += self.beam_options
        is_staged = not any(option.startswith("--environment_type=LOOPBACK") for option in self.beam_options)
        if is_staged and not any(option.startswith("--setup_file") for option in self.beam_options):
            if not SETUP_FILE.exists():
                raise InputError(f"{SETUP_FILE} is not there: the workers need our sources; install maskmill from them")
            options.append(f"--setup_file={SETUP_FILE}")
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        for job in jobs:
            self._run(job, options)

    def _run(self, job: Job, options: Sequence[str]) -> None:
        import grpc  # type: ignore[import-untyped]

        try:
            with hold_back_stderr():
                job.run(options)
        except (grpc.RpcError, grpc.FutureTimeoutError) as error:
            raise InputError(
                f"job_endpoint {self.job_endpoint} does not answer; start the job server, or check host and port"
            ) from error
        except RuntimeError as error:
            if sentence := WORKER_ERROR.search(str(error)):
                raise InputError(sentence[1]) from None
            raise

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A hidden folder beside what is written."""
        folder = self.folder / f".maskmill-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
