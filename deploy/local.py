"""Runs a DAG on this machine, on Beam's FnApiRunner."""

import json
import logging
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pipeline import dag

BYTES_PER_WORKER = 30_000_000  # worker processes take seconds to start: below this, one is quicker than two


def run(build: dag.Build, num_workers: int) -> None:
    """Runs a DAG to its end, in this process or in `num_workers` worker processes."""
    # The errors that concern the user are raised; Beam would log their tracebacks, too.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    options = ["--runner=FnApiRunner"]
    if num_workers > 1:
        # Else a worker would take the user's own model.py in the current folder for ours.
        os.environ["PYTHONSAFEPATH"] = "1"
        options += ["--direct_running_mode=multi_processing", f"--direct_num_workers={num_workers}"]
    dag.run(build, options)


def run_for_counts(build: Callable[..., None], num_workers: int) -> dict[str, int]:
    """Runs a DAG that writes a JSON object to its argument `result`, and returns that object."""
    with tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
        result = Path(folder) / "result.json"
        run(partial(build, result=result), num_workers)
        counts: dict[str, int] = json.loads(result.read_text(encoding="utf-8"))
        return counts


def choose_workers(files: list[str]) -> int:
    """As many worker processes as the input is worth, one for each processor at the most."""
    input_bytes = sum(os.path.getsize(path) for path in files)
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, input_bytes // BYTES_PER_WORKER))
