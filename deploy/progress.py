"""How far a run of `generate` is: a bar on a terminal, a line now and then elsewhere."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipeline.unfinished import Unfinished

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Work:
    """What is to be done in a run, and how its two parts weigh."""

    documents: int
    megabytes: float  # of text
    shards: int  # of all targets, those finished before included
    instances_per_shard: Sequence[float]  # of each target
    shard_bytes: float
    tokenize_seconds: float  # of processor time
    build_seconds: float

    @property
    def seconds(self) -> float:
        """All of the processor time."""
        return self.tokenize_seconds + self.build_seconds


@contextmanager
def show_progress(console: Console, datasets: Sequence[Unfinished], work: Work) -> Iterator[None]:
    """Shows documents, instances, shards and the time left; the runner itself says nothing before its end."""
    started = time.monotonic()
    before = _Done.look(datasets, work)
    over = threading.Event()
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("Starting", total=1.0)

        def watch() -> None:
            last_line = started
            while not over.wait(SECONDS_BETWEEN_LOOKS):
                done = _Done.look(datasets, work)
                share = done.share_of(work, before)
                elapsed = time.monotonic() - started
                text = (
                    f"{done.documents:,} documents, {share * work.megabytes / elapsed:.1f} MB/s, "
                    f"about {done.instances:,} instances, {done.shards} of {work.shards} shards"
                )
                progress.update(bar, completed=share, description=text)
                if not console.is_terminal and time.monotonic() - last_line > SECONDS_BETWEEN_LINES:
                    last_line = time.monotonic()
                    left = f", {elapsed / share - elapsed:.0f} s left" if share else ""
                    console.print(f"{elapsed:.0f} s: {text}{left}")

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


@dataclass(frozen=True)
class _Done:
    documents: int
    shards: int
    instances: int

    @classmethod
    def look(cls, datasets: Sequence[Unfinished], work: Work) -> "_Done":
        shards = [len(dataset.names()) for dataset in datasets]
        instances = sum(number * each for number, each in zip(shards, work.instances_per_shard))
        return cls(datasets[0].tokenized(), sum(shards), int(instances))

    def share_of(self, work: Work, before: "_Done") -> float:
        """The share of the work that is done, in time."""
        tokenized = work.tokenize_seconds * min(1.0, self.documents / max(1, work.documents))
        built = work.build_seconds * (self.shards - before.shards) / max(1, work.shards - before.shards)
        return min(1.0, (tokenized + built) / max(work.seconds, 1e-9))
