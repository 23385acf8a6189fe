"""Runs a DAG on this machine, on Beam's FnApiRunner."""

import json
import logging
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pipeline import dag
from tokenizer.errors import InputError

# Worker processes take seconds to start: below this, one is quicker than two.
BYTES_PER_WORKER = 30_000_000
BYTES_PER_MEASURING_WORKER = 500_000_000
SECONDS_FOR_INTERRUPT = 0.5

# What Beam makes of an error in another process: one that holds the traceback there as text.
WORKER_ERROR = re.compile(r"^tokenizer\.errors\.InputError: (.*?)(?: \[while running|$)", re.MULTILINE)


class WorkerLostError(InputError):
    """A worker process ended before its work."""

    def __init__(self) -> None:
        super().__init__("a worker process was killed, most often because memory ran out; give a smaller --num-workers")


def run(build: dag.Build, num_workers: int) -> None:
    """Runs a DAG to its end, in this process or in `num_workers` worker processes.

    Raises InputError where a step did, wherever it ran, with the same sentence, and WorkerLostError.
    """
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # the errors it would log are raised as well
    options = ["--runner=FnApiRunner"]
    if num_workers > 1:
        # Else a worker would take the user's own model.py in the current folder for ours.
        os.environ["PYTHONSAFEPATH"] = "1"
        options += ["--direct_running_mode=multi_processing", f"--direct_num_workers={num_workers}"]
    lost = threading.Event()
    try:
        if num_workers == 1:
            dag.run(build, options)
        else:
            with hold_back_stderr(), _interrupt_when_worker_ends(lost):
                dag.run(build, options)
    except KeyboardInterrupt:
        if lost.is_set():
            raise WorkerLostError from None
        raise
    except InputError as error:
        raise InputError(re.sub(r" \[while running .*", "", str(error), flags=re.DOTALL)) from None
    except Exception as error:
        if lost.is_set():
            raise WorkerLostError from None
        if str(error).startswith("KeyboardInterrupt"):
            raise KeyboardInterrupt from None
        if "Channel closed prematurely" in str(error):
            raise WorkerLostError from None
        if sentence := WORKER_ERROR.search(str(error)):
            raise InputError(sentence[1]) from None
        raise


@contextmanager
def _interrupt_when_worker_ends(lost: threading.Event) -> Iterator[None]:
    """Ends the run as Ctrl-C would when a worker process ended before its work, and says so by `lost`.

    Beam raises in the thread that waits for the process, which nobody hears, and waits for its results for ever.
    """
    by_user = threading.Event()

    def interrupt(*_: object) -> None:
        if not lost.is_set():
            by_user.set()
        raise KeyboardInterrupt

    def hear(error: threading.ExceptHookArgs) -> None:
        if "Worker subprocess exited with return code" in str(error.exc_value):
            time.sleep(SECONDS_FOR_INTERRUPT)  # Ctrl-C reaches this process and its workers at once, and ends both
            if not by_user.is_set() and not lost.is_set():
                lost.set()
                os.kill(os.getpid(), signal.SIGINT)

    hook, handler = threading.excepthook, signal.signal(signal.SIGINT, interrupt)
    threading.excepthook = hear
    try:
        yield
    finally:
        threading.excepthook = hook
        signal.signal(signal.SIGINT, handler)


@contextmanager
def hold_back_stderr() -> Iterator[None]:
    """Keeps back what libraries and worker processes write to stderr; what is raised comes through."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def run_for_result(build: Callable[..., None], num_workers: int) -> Any:
    """Runs a DAG that writes a JSON object to its argument `result`, and returns that object."""
    with tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
        result = Path(folder) / "result.json"
        run(partial(build, result=result), num_workers)
        return json.loads(result.read_text(encoding="utf-8"))


def choose_workers(files: list[str], bytes_per_worker: int = BYTES_PER_WORKER) -> int:
    """As many worker processes as the input is worth, one for each processor at the most."""
    input_bytes = sum(os.path.getsize(path) for path in files)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, input_bytes // bytes_per_worker))
