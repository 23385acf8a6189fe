"""What runs jobs, here or elsewhere."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from maskmill.pipeline.jobs.jobs import CountWords, Job, WorkOnTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

SharedJob = TypeVar("SharedJob", CountWords, WorkOnTable)


def submit(job: Job, beam_options: Sequence[str]) -> Any:
    """Starts a job with Beam's own options, and returns Beam's `PipelineResult`."""
    from maskmill.pipeline.jobs import dag

    return dag.submit(job.build, beam_options)


class Runner(Protocol):
    """Where jobs run: this machine, or an engine."""

    @property
    def num_workers(self) -> int:
        """How many jobs run side by side."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs. Raises InputError where a step did, with the same sentence."""

    def scratch(self) -> AbstractContextManager[str]:
        """A folder that the workers see, too, and that is gone afterwards."""


def run_for_results(runner: Runner, jobs: Sequence[CountWords]) -> "list[tuple[dict[str, NDArray[Any]], Counter[str]]]":
    """Runs jobs that write arrays and counts to their `result`, and returns those."""
    from maskmill.pipeline.jobs.results import read_result

    with runner.scratch() as folder:
        results = [os.path.join(folder, str(number)) for number in range(len(jobs))]
        runner.run([replace(job, result=result) for job, result in zip(jobs, results)])
        return [read_result(result) for result in results]


def share_out(runner: Runner, job: SharedJob, parts: int) -> list[SharedJob]:
    """One job for each worker, over its share of the input; no more than the input may have parts."""
    shares = max(1, min(runner.num_workers, parts))
    return [replace(job, share=(number, shares)) for number in range(shares)]
