"""Jobs: DAGs to be run, here or elsewhere, and what runs them."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from maskmill.pipeline.jobs.results import Arrays


@dataclass(frozen=True)
class Job:
    """A DAG of `pipeline/jobs/dag.py` and its arguments. By name: only who runs it imports Beam, which takes long."""

    dag: Literal["measure_corpus", "count_words", "generate_shards", "generate_dataset", "work_on_table"]
    arguments: Mapping[str, Any]

    def with_arguments(self, **arguments: Any) -> "Job":
        """The same with more arguments."""
        return replace(self, arguments={**self.arguments, **arguments})

    def submit(self, beam_options: Sequence[str]) -> Any:
        """Starts it with Beam's own options, and returns Beam's `PipelineResult`."""
        from maskmill.pipeline.jobs import dag

        return dag.submit(lambda pipeline: getattr(dag, self.dag)(pipeline, **self.arguments), beam_options)


class Runner(Protocol):
    """Runs jobs to their end."""

    @property
    def num_workers(self) -> int:
        """How many jobs run side by side."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs. Raises InputError where a step did, with the same sentence."""

    def scratch(self) -> AbstractContextManager[str]:
        """A folder that the workers see, too, and that is gone afterwards."""


def run_for_results(runner: Runner, jobs: Sequence[Job]) -> list[tuple["Arrays", Counter[str]]]:
    """Runs jobs that write arrays and counts to their argument `result`, and returns those."""
    from maskmill.pipeline.jobs.results import read_result

    with runner.scratch() as folder:
        results = [os.path.join(folder, str(number)) for number in range(len(jobs))]
        runner.run([job.with_arguments(result=result) for job, result in zip(jobs, results)])
        return [read_result(result) for result in results]


def share_out(runner: Runner, job: Job, parts: int) -> list[Job]:
    """One job for each worker, over its share of the input; no more than the input may have parts."""
    shares = max(1, min(runner.num_workers, parts))
    return [job.with_arguments(share=(number, shares)) for number in range(shares)]
