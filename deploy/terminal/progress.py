"""How far work is: a bar on a terminal, a line now and then elsewhere."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from maskmill.tokenizer.errors import InputError

SECONDS_BETWEEN_LINES = 10.0


class Bar(Progress):
    """How far work is: a bar on a terminal; where none can be drawn, as in a file or a pipe, a line now and then."""

    def __init__(self, console: Console, text: str, total: float | None = None, is_short: bool = False):
        """Begins with a text; without an end where the total is not known. A short bar leaves room for long texts."""
        self._numbers, self._last = "", time.monotonic()  # before the first drawing
        words, times = TextColumn("{task.description}"), (TimeElapsedColumn(), TimeRemainingColumn())
        columns = (BarColumn(bar_width=20), TaskProgressColumn(), words) if is_short else (words, BarColumn(), *times)
        super().__init__(*columns, console=console, transient=True, disable=not console.is_interactive)
        self._task = self.add_task(text, total=total)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and below it a line of numbers, which is never wider than the terminal."""
        yield self.make_tasks_table(self.tasks)
        if self._numbers:
            yield Text(self._numbers, no_wrap=True, overflow="ellipsis")

    def draw(self, text: str, completed: float, total: float | None = None, numbers: str = "") -> None:
        """Shows on a terminal how far the work is."""
        self._numbers = numbers
        self.update(self._task, description=text, completed=completed, total=total)

    def print_line(self, text: str) -> None:
        """Prints how far the work is where no bar can be drawn, unless that was just told."""
        now = time.monotonic()
        if not self.console.is_interactive and now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self.console.print(text)


@contextmanager
def looking(look: Callable[[], None], seconds_between_looks: float) -> Iterator[None]:
    """Within it, a thread looks every so often. An InputError while polling is ignored until the next poll."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(seconds_between_looks):
            with suppress(InputError):
                look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@dataclass(frozen=True)
class Done:
    """What is done of a run."""

    documents: int  # tokenised
    shards: int
    instances: int
    state: str = ""  # of the job, where an engine tells it


@dataclass(frozen=True)
class Work:
    """What is to be done in a run, as far as it is known, and how its two parts weigh."""

    documents: int
    pools: int
    megabytes: float  # of text
    shards: int  # of all targets
    shards_before: int  # of those, finished by an earlier run
    instances: float
    read_seconds: float  # of processor time, for all of the input once
    tokenize_seconds: float  # of processor time
    build_seconds: float

    @property
    def seconds(self) -> float:
        """Processor time to tokenise all documents and to build all shards."""
        return self.tokenize_seconds + self.build_seconds

    def of_tokenizing(self) -> "Work":
        """The first half of it."""
        return replace(self, build_seconds=0.0)

    def of_building(self) -> "Work":
        """The second half of it."""
        return replace(self, read_seconds=0.0, tokenize_seconds=0.0)

    @property
    def seconds_left(self) -> float:
        """The same for the shards that no earlier run has finished."""
        return self.seconds * (1 - self.shards_before / max(1, self.shards))

    def share_of(self, done: Done) -> float:
        """The share of the work that is done, in time."""
        tokenized = self.tokenize_seconds * min(1.0, done.documents / max(1, self.documents))
        built = self.build_seconds * (done.shards - self.shards_before) / max(1, self.shards - self.shards_before)
        return min(1.0, (tokenized + built) / max(self.seconds, 1e-9))


@contextmanager
def show_progress(
    console: Console, look: Callable[[], Done], work: Work, seconds_between_looks: float
) -> Iterator[None]:
    """Shows documents, instances, shards and the time left, by what `look` sees: Beam says nothing before its end."""
    started, state = time.monotonic(), ""
    with Bar(console, "Starting", total=1.0) as bar:

        def show() -> None:
            nonlocal state
            done = look()
            share = work.share_of(done)
            elapsed = time.monotonic() - started
            documents = f"{done.documents:,} documents, " if work.tokenize_seconds else ""
            text = f"{documents}{share * work.megabytes / elapsed:.1f} MB/s"
            if work.build_seconds:
                text += f", about {done.instances:,} instances, {done.shards} of {work.shards} shards"
            if done.state != state:
                state = done.state
                console.print(f"{elapsed:.0f} s: the job is {state}")
            bar.draw(text, share)
            left = f", {elapsed / share - elapsed:.0f} s left" if share else ""
            bar.print_line(f"{elapsed:.0f} s: {text}{left}")

        with looking(show, seconds_between_looks):
            yield
