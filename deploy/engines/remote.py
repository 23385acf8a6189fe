"""Engines elsewhere: what they have in common.

Workers get the code as a source package that Beam stages and installs, and see the files under the same names.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from maskmill.pipeline.jobs.jobs import Job


class RunningJob(Protocol):
    """A job that an engine runs."""

    @property
    def description(self) -> str:
        """The job in words, for messages."""

    @property
    def state(self) -> str:
        """Its state as the engine names it, such as RUNNING."""

    @property
    def counters(self) -> Mapping[str, int]:
        """The counters of `transforms` by name, where the engine tells them before the end."""

    def wait(self) -> None:
        """Waits for its end. Raises EndedError where it did not end well, InputError where nothing answers."""

    def leave(self) -> str:
        """Stops waiting after Ctrl-C, and returns what to tell the user."""

    def cancel(self) -> None:
        """Cancels the job."""


class RemoteRunner(Protocol):
    """An engine that runs jobs elsewhere."""

    @property
    def name(self) -> str:
        """The engine as `--runner` names it."""

    @property
    def billing(self) -> str | None:
        """The type of machine that is billed by the hour; None where the cluster is the user's own."""

    @property
    def num_workers(self) -> int:
        """One: whatever the engine has, it shares out the work of a job by itself."""

    def check(self) -> None:
        """Raises InputError when it cannot be reached, or does not let us in."""

    def submit(self, job: Job, worker_bytes: int | None = None) -> RunningJob:
        """Submits a job; its workers get at least `worker_bytes` of memory, where the engine takes such a wish."""

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
