"""Runs DAGs on this machine, on Beam's FnApiRunner: in this process, or side by side in worker processes.

Each worker process runs whole DAGs, over a share of the input or of the pools, so that nothing passes between them.
Beam's own worker processes get their work, and give it back, through the one that started them; two of those gained
1.4 times, and when one was killed Beam waited for ever.
"""

import logging
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import cast

from maskmill.deploy.engines.jobs import submit
from maskmill.deploy.engines.memory import give_back_memory
from maskmill.pipeline.jobs.jobs import Job
from maskmill.pipeline.processes import LOST, WorkerLostError, begin_worker, fork_server
from maskmill.pipeline.storage.storage import size_of
from maskmill.tokenizer.errors import InputError

# Worker processes take seconds to start: below this, one is quicker than two.
BYTES_PER_WORKER = 30_000_000

# What Beam makes of an error in a step: one that tells the step as well.
STEP = re.compile(r" \[while running .*", re.DOTALL)


@dataclass(frozen=True)
class LocalRunner:
    """Runs jobs in this process, or side by side in `num_workers` worker processes."""

    num_workers: int

    @classmethod
    def prepare(cls, files: Sequence[str], num_workers: int | None) -> "LocalRunner":
        """With as many workers as given, or as the input is worth, one for each processor at the most.

        Lets the process that worker processes are forked from get ready while this one goes on.
        """
        if num_workers is None:
            input_bytes = sum(map(size_of, files))
            processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            num_workers = max(1, min(processors, input_bytes // BYTES_PER_WORKER))
        if num_workers > 1:
            fork_server(["maskmill.pipeline.jobs.dag"])
        return cls(num_workers)

    def run(self, jobs: Sequence[Job]) -> None:
        """Runs jobs. Raises InputError where a step did, and WorkerLostError; the other workers are stopped then."""
        if self.num_workers > 1:
            self._run_in_processes(jobs)
            return
        for number, job in enumerate(jobs):
            if number:
                give_back_memory()
            _run(job)

    def _run_in_processes(self, jobs: Sequence[Job]) -> None:
        context = fork_server()
        waiting = list(jobs)
        running: dict[int, tuple[BaseProcess, Connection]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.num_workers:
                    errors, sender = context.Pipe(duplex=False)
                    process = context.Process(target=_work, args=(waiting.pop(0), sender))
                    try:
                        process.start()
                    except LOST as error:
                        raise WorkerLostError from error
                    sender.close()
                    running[process.sentinel] = process, errors
                for sentinel in wait(list(running)):
                    ended, errors = running.pop(cast(int, sentinel))
                    ended.join()
                    if ended.exitcode:
                        raise _receive(errors)
        finally:
            for other, _ in running.values():
                other.terminate()
                other.join()

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """A temporary folder."""
        with tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
            yield folder


def _run(job: Job) -> None:
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # the errors it would log are raised as well
    try:
        submit(job, ["--runner=FnApiRunner"]).wait_until_finish()
    except InputError as error:
        raise InputError(STEP.sub("", str(error))) from None
    except Exception as error:
        if str(error).startswith("KeyboardInterrupt"):
            raise KeyboardInterrupt from None
        raise


def _work(job: Job, errors: Connection) -> None:
    """What a worker process does."""
    begin_worker()
    try:
        _run(job)
    except InputError as error:
        errors.send(error)
        sys.exit(1)
    except Exception:
        errors.send(RuntimeError(traceback.format_exc()))
        sys.exit(1)


def _receive(errors: Connection) -> Exception:
    try:
        error: Exception = errors.recv()
    except EOFError:
        return WorkerLostError()
    return error
