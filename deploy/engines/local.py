"""Runs DAGs on this machine, on Beam's FnApiRunner: in this process, or side by side in worker processes.

Each worker process runs whole DAGs, over a share of the input or of the pools, so that nothing passes between them.
Beam's own worker processes get their work, and give it back, through the one that started them; two of those gained
1.4 times, and when one was killed Beam waited for ever.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from maskmill.deploy.engines.beam_errors import raised_by_step
from maskmill.deploy.engines.jobs import submit
from maskmill.deploy.engines.memory import give_back_memory
from maskmill.deploy.terminal.messages import warn
from maskmill.deploy.terminal.numbers import count
from maskmill.pipeline.jobs.jobs import Job
from maskmill.pipeline.processes import WorkerPool, count_processors, fork_server
from maskmill.pipeline.storage.storage import size_of
from maskmill.tokenizer.errors import InputError

# What worker processes find loaded when they are forked.
PRELOADED = ("maskmill.pipeline.jobs.dag", "apache_beam.runners.portability.fn_api_runner")
# Worker processes take seconds to start: below this, one is quicker than two.
BYTES_PER_WORKER = 30_000_000


@dataclass(frozen=True)
class LocalRunner:
    """Runs jobs in this process, or side by side in `num_workers` worker processes."""

    num_workers: int

    @classmethod
    def prepare(cls, files: Sequence[str], num_workers: int | None) -> "LocalRunner":
        """With as many workers as given, or as the input is worth, one for each processor at the most.

        More of them than processors slow each other down. Lets the process that worker processes are forked from get
        ready while this one goes on.
        """
        processors = count_processors()
        if num_workers is None:
            num_workers = max(1, min(processors, sum(map(size_of, files)) // BYTES_PER_WORKER))
        if num_workers > processors:
            there_are = count(processors, "processor")
            warn(f"--num-workers is {num_workers}, and this machine has {there_are}: {processors} work side by side")
            num_workers = processors
        if num_workers > 1:
            fork_server(PRELOADED)
        return cls(num_workers)

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs. Raises InputError where a step did, and WorkerLostError; the other workers are stopped then."""
        if self.num_workers > 1:
            with WorkerPool(_run, self.num_workers, is_renewed=True) as pool:
                pool.run(jobs)
            return
        for number, job in enumerate(jobs):
            if number:
                give_back_memory()
            _run(job)

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A temporary folder."""
        with tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
            yield folder


def _run(job: Job) -> None:
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # the errors it would log are raised as well
    try:
        submit(job, ["--runner=FnApiRunner"]).wait_until_finish()
    except Exception as error:
        raised = raised_by_step(error)
        if isinstance(raised, (InputError, KeyboardInterrupt)):
            raise raised from None
        raise  # with the step that it is from
