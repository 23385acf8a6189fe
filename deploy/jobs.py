"""Jobs: DAGs to be run, here or elsewhere, and what runs them."""

import pickle
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Job:
    """A DAG of `pipeline.dag` and its arguments. By name, because only who runs it imports Beam, which takes long."""

    dag: Literal["measure_corpus", "count_words", "generate_shards"]
    arguments: Mapping[str, Any]

    def with_arguments(self, **arguments: Any) -> "Job":
        """The same with more arguments."""
        return replace(self, arguments={**self.arguments, **arguments})

    def run(self, beam_options: Sequence[str]) -> None:
        """Runs it to its end with Beam's own options."""
        from pipeline import dag

        dag.run(lambda pipeline: getattr(dag, self.dag)(pipeline, **self.arguments), beam_options)


class Runner(Protocol):
    """Runs jobs to their end."""

    @property
    def num_workers(self) -> int:
        """How many jobs run side by side."""

    @property
    def holds_pools(self) -> bool:
        """Whether the memory of this machine limits the pools of a job."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs. Raises InputError where a step did, with the same sentence."""

    def scratch(self) -> AbstractContextManager[Path]:
        """A folder that the workers see, too, and that is gone afterwards."""


def run_for_results(runner: Runner, jobs: Sequence[Job]) -> list[Any]:
    """Runs jobs that write an object to their argument `result`, and returns the objects."""
    with runner.scratch() as folder:
        results = [folder / str(number) for number in range(len(jobs))]
        runner.run([job.with_arguments(result=result) for job, result in zip(jobs, results)])
        return [pickle.loads(result.read_bytes()) for result in results]


def share_out(runner: Runner, job: Job) -> list[Job]:
    """One job for each worker, over its share of the input."""
    return [job.with_arguments(share=(number, runner.num_workers)) for number in range(runner.num_workers)]
