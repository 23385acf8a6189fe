"""Runs DAGs elsewhere: on an engine of Beam's that takes jobs.

Workers get the code as a source package that Beam stages and installs, and see the files under the same names.
"""

import logging
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from deploy.jobs import Job
from deploy.local import hold_back_stderr
from pipeline.storage import make_folder, remove_folder
from tokenizer.errors import InputError

SECONDS = 10  # for a job server to answer
SETUP_FILE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "setup.py")

# What an engine makes of an error in a worker: a message that holds the traceback there.
WORKER_ERROR = re.compile(r"tokenizer\.errors\.InputError: (.*?)(?: \[while running|$)", re.MULTILINE)


class RunningJob(Protocol):
    """A job that an engine runs."""

    @property
    def description(self) -> str:
        """Which one it is, in words."""

    def state(self) -> str:
        """What the engine says of it, such as RUNNING."""

    def counters(self) -> Mapping[str, int]:
        """The counters of `transforms` by name, where the engine tells them before the end."""

    def wait(self) -> None:
        """Waits for its end. Raises InputError where a step did, and where it failed otherwise."""


class RemoteRunner(Protocol):
    """An engine."""

    @property
    def name(self) -> str:
        """Of `--runner`."""

    @property
    def num_workers(self) -> int:
        """One: whatever the engine has, it shares out the work of a job by itself."""

    def submit(self, job: Job) -> RunningJob:
        """Has a job begun."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs to their end, one after the other."""

    def scratch(self) -> Any:
        """A folder that the workers see, too, and that is gone afterwards."""


@dataclass(frozen=True)
class PortableRunner:
    """Submits jobs to a job server of Beam's, or to a cluster of Flink's by the job server that Beam starts for it."""

    name: str
    engine_options: Sequence[str]  # where it is
    folder: str  # that the workers see, too
    beam_options: Sequence[str] = ()
    num_workers = 1

    def submit(self, job: Job) -> "PortableJob":
        """Has a job begun. Raises InputError where no job server answers."""
        options = [*self.engine_options, f"--job_server_timeout={SECONDS}", *self.beam_options]
        is_staged = not any(option.startswith("--environment_type=LOOPBACK") for option in self.beam_options)
        if is_staged and not any(option.startswith("--setup_file") for option in self.beam_options):
            if not os.path.exists(SETUP_FILE):
                raise InputError(f"{SETUP_FILE} is not there: the workers need our sources; install maskmill from them")
            options.append(f"--setup_file={SETUP_FILE}")
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
        with self._one_sentence():
            return PortableJob(self, job.submit(options))

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs to their end, one after the other."""
        for job in jobs:
            self.submit(job).wait()

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A hidden folder beside what is written."""
        folder = os.path.join(self.folder, f".maskmill-{uuid.uuid4().hex}")
        make_folder(folder)
        try:
            yield folder
        finally:
            remove_folder(folder)

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        """Raises what goes wrong with a job as InputError."""
        import grpc  # type: ignore[import-untyped]

        try:
            with hold_back_stderr():
                yield
        except (grpc.RpcError, grpc.FutureTimeoutError) as error:
            where = self.engine_options[-1].lstrip("-").replace("=", " ")
            raise InputError(f"{where} does not answer; start the job server, or check host and port") from error
        except RuntimeError as error:
            if sentence := WORKER_ERROR.search(str(error)):
                raise InputError(sentence[1]) from None
            raise


@dataclass(frozen=True)
class PortableJob:
    """A job of a job server."""

    runner: PortableRunner
    result: Any  # Beam's PipelineResult

    @property
    def description(self) -> str:
        """Its id."""
        return f"job {self.result._job_id}" if hasattr(self.result, "_job_id") else "a job"

    def state(self) -> str:
        """What the job server says of it."""
        return str(self.result.state)

    def counters(self) -> Mapping[str, int]:
        """None: Beam asks a job server for them once only."""
        return {}

    def wait(self) -> None:
        """Waits for its end; Ctrl-C ends it there, too."""
        with self.runner._one_sentence():
            try:
                self.result.wait_until_finish()
            except KeyboardInterrupt:
                self.result.cancel()
                raise
