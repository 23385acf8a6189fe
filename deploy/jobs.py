"""`generate`: check first, run the DAG, say what was made."""

import json
import os
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deploy import local
from deploy.inputs import check_apart, check_documents, describe
from deploy.show import new_console, show_summary
from pipeline import dag
from pipeline.config import InstanceConfig
from pipeline.documents import ReadOptions, list_files
from pipeline.pools import Pools
from pipeline.schema import MANIFEST, SHARD_NAME, DatasetInfo, write_text_atomically
from tokenizer.errors import InputError
from tokenizer.vocab import Vocab


def generate_dataset(
    inputs: Sequence[str],
    vocab_file: Path,
    output: Path,
    config: InstanceConfig,
    reading: ReadOptions,
    *,
    num_workers: int | None,
    overwrite: bool,
) -> None:
    """Inputs and a vocabulary -> a dataset. Raises InputError before any work where it can be seen to fail."""
    console = new_console()
    vocab = Vocab.load(vocab_file)
    files = list_files(inputs)
    num_workers = num_workers or local.choose_workers(files)
    check_apart(inputs, files, output)
    check_apart(inputs, files, vocab_file)
    _check_output(output, overwrite)
    started, clock = datetime.now(UTC), time.monotonic()

    if vocab.has_upper_case and not config.cased:
        console.print(
            f"{vocab_file} has tokens in upper case; if it was trained with --cased, say so here.", style="yellow"
        )
    corpus = _measure(console, inputs, files, reading, num_workers)
    if corpus["documents"] == 1:
        raise InputError(
            f"INPUT {' '.join(inputs)} is one document; expected two or more, with a blank line between them: "
            "a random next sentence comes from another document"
        )
    pools = Pools.plan(config, corpus["documents"], corpus["characters"])
    shards = pools.train * config.dupe_factor + pools.eval
    console.print(f"Building {shards} shards from {corpus['documents']:,} documents")

    _remove_dataset(output)
    with _show_shards(output, shards, console):
        build = partial(
            dag.generate_shards,
            inputs=inputs,
            options=reading,
            vocab=vocab,
            config=config,
            pools=pools,
            output=output,
        )
        local.run(build, num_workers)

    seconds = time.monotonic() - clock
    run = {
        "inputs": list(inputs),
        "files": len(files),
        "reading": asdict(reading),
        "vocab_file": str(vocab_file),
        "num_workers": num_workers,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in ("maskmill", "apache-beam", "numpy", "sentencex")},
    }
    write_text_atomically(output / "run.json", json.dumps(run, indent=1) + "\n")
    show_summary(console, output, DatasetInfo.load(output), seconds)
    console.print(f"Look at it with: maskmill inspect {output}")


def _check_output(output: Path, overwrite: bool) -> None:
    """Raises InputError when the folder cannot be written, or holds a dataset, whole or not, that is not given up."""
    output.mkdir(parents=True, exist_ok=True)
    if not os.access(output, os.W_OK):
        raise InputError(f"output {output} cannot be written to; check its permissions, or give another folder")
    found = _dataset_files(output)
    if found and not overwrite:
        state = "holds a dataset" if (output / MANIFEST).exists() else "holds shards of a run that did not finish"
        raise InputError(f"output {output} {state}; give another folder, or --overwrite to replace it")


def _dataset_files(output: Path) -> list[Path]:
    """The manifest, which is to go first, and the shards, those under temporary names as well."""
    shards = [path for path in output.iterdir() if SHARD_NAME.match(path.name.removeprefix("."))]
    return [*output.glob(MANIFEST), *sorted(shards)]


def _remove_dataset(output: Path) -> None:
    for path in _dataset_files(output):
        path.unlink()


def _measure(console: Console, inputs: Sequence[str], files: list[str], reading: ReadOptions, num_workers: int) -> Any:
    """Reads the corpus once, cheaply; prints and returns its measures. Raises InputError when it has no documents."""
    console.print(f"Reading {describe(files)}")
    with console.status("Measuring the corpus"):
        corpus = local.run_for_result(partial(dag.measure_corpus, inputs=inputs, options=reading), num_workers)
    check_documents(console, inputs, corpus["documents"], corpus)
    console.print(f"{corpus['documents']:,} documents, {corpus['characters']:,} characters without blanks")
    return corpus


@contextmanager
def _show_shards(output: Path, total: int, console: Console) -> Iterator[None]:
    """Shows how many shards are there while they are built; the runner itself says nothing before its end."""
    columns = TextColumn("Building shards"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    done = threading.Event()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=total)

        def watch() -> None:
            while not done.wait(0.3):
                progress.update(bar, completed=sum(not path.name.startswith(".") for path in _dataset_files(output)))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
