"""Engines elsewhere: what they have in common.

Workers get the code as a source package that Beam stages and installs, and see the files under the same names.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stderr
from typing import Protocol

from maskmill.pipeline.jobs.jobs import Job
from maskmill.tokenizer.errors import InputError, first_line

# What an engine makes of an error in a worker: a message that holds the traceback there.
WORKER_ERROR = re.compile(r"tokenizer\.errors\.InputError: (.*?)(?: \[while running|$)", re.MULTILINE)


class JobEndedError(InputError):
    """A job that was begun has ended, and not well."""


class RunningJob(Protocol):
    """A job that an engine runs."""

    @property
    def description(self) -> str:
        """Which one it is, in words."""

    @property
    def state(self) -> str:
        """What the engine says of it, such as RUNNING."""

    @property
    def counters(self) -> Mapping[str, int]:
        """The counters of `transforms` by name, where the engine tells them before the end."""

    def wait(self) -> None:
        """Waits for its end. Raises JobEndedError where it did not end well, InputError where nothing answers."""

    def leave(self) -> str:
        """What to say, and what to do, when Ctrl-C ended the waiting."""

    def cancel(self) -> None:
        """Ends it."""


class RemoteRunner(Protocol):
    """An engine."""

    @property
    def name(self) -> str:
        """Of `--runner`."""

    @property
    def billing(self) -> str | None:
        """The type of machine that is billed by the hour; None where the cluster is the user's own."""

    @property
    def num_workers(self) -> int:
        """One: whatever the engine has, it shares out the work of a job by itself."""

    def check(self) -> None:
        """Raises InputError when it cannot be reached, or does not let us in."""

    def submit(self, job: Job, worker_bytes: int | None = None) -> RunningJob:
        """Has a job begun, by workers with so much memory, where the engine can be told."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs to their end, one after the other."""

    def scratch(self) -> AbstractContextManager[str]:
        """A folder that the workers see, too, and that is gone afterwards."""


def run_jobs(runner: RemoteRunner, jobs: Sequence[Job]) -> None:
    """Runs jobs to their end, one after the other; Ctrl-C ends them there, too: nobody else waits for their results."""
    runner.check()
    for job in jobs:
        running = runner.submit(job)
        try:
            running.wait()
        except KeyboardInterrupt:
            running.cancel()
            raise


@contextmanager
def beams_refusals() -> Iterator[None]:
    """Raises what Beam says against options, and argparse before it exits, as InputError."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            yield
    except InputError:
        raise
    except SystemExit as error:
        lines = said.getvalue().strip().splitlines() or ["an option is wrong"]
        raise InputError(f"Beam does not take its options ({lines[-1].rpartition('error: ')[2]})") from error
    except ValueError as error:
        raise InputError(f"Beam does not take its options ({first_line(error)})") from error


def shorten_error(error: str) -> str:
    """Of what an engine says of an error: what was raised, a traceback's last line; else the first."""
    lines = [line.strip() for line in error.strip().splitlines() if line.strip()]
    return (lines[-1] if "Traceback" in error else lines[0]).rstrip(".")
