"""A dataset on the terminal: what a run made. And what all commands print tables with."""

import io
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from maskmill.deploy.terminal.messages import is_given, warn
from maskmill.deploy.terminal.numbers import count, in_bytes
from maskmill.deploy.terminal.printable import visible
from maskmill.deploy.terminal.streams import LastingOutput
from maskmill.pipeline.analysis.stats import KINDS
from maskmill.pipeline.dataset.schema import DatasetInfo, Split
from maskmill.pipeline.validation.shares import note_labels

LABELLED_1 = {"nsp": "random next", "sop": "swapped"}  # what a table calls the examples whose label is 1
MOST_TRUNCATED = 0.1  # share of the tokens; BERT's rule truncates a few where chunks are a little too long
MOST_UNKNOWN = 0.05  # share of [UNK] tokens above which a vocabulary is taken for the wrong one
WIDE = 10_000  # columns: enough for any row


def new_console(unfolded: bool = False, lasting: bool = False) -> Console:
    """A console for the result of a command.

    It prints text as it is: names of files and tokens may hold rich's markup. A character that the terminal's encoding
    lacks is shown as a question mark. `unfolded`: into a file or a pipe, it prints tables as wide as they are.
    `lasting`: for work that goes on when nobody reads what it prints, as of `maskmill evaluate ... | head`; else the
    command ends then, without a word.
    """
    console = _make_console(LastingOutput(sys.stdout) if lasting else None)
    if unfolded and not console.is_terminal:
        console.width = WIDE
    return console


def new_talk(quiet: bool = False) -> Console:
    """A console for what a command says beside its result: `talk.say` in colours, with tables and bars.

    The command goes on when nobody reads it.
    """
    stream = sys.stderr if is_given("--json") else sys.stdout
    return _make_console(LastingOutput(stream), quiet or is_given("--quiet"))


class _SafeConsole(Console):
    """A console that shows text from data as it can be shown, see `visible`; its own colours and line ends stay."""

    def render_str(self, text: str, *arguments: Any, **options: Any) -> Text:
        """As rich, before text is measured and folded."""
        return super().render_str(visible(text), *arguments, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """As rich, also of what never was a plain string."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def _make_console(file: LastingOutput | None, quiet: bool = False) -> Console:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    return _SafeConsole(
        file=cast(TextIO, file) if file else None,
        highlight=False,
        soft_wrap=True,
        markup=False,
        emoji=False,
        quiet=quiet,
    )


def new_table(*columns: str, title: str | None = None, numbers_from: int | None = None) -> Table:
    """A table that cuts nothing off; from the column `numbers_from` on it holds numbers."""
    table = Table(*columns, title=title, title_justify="left")
    for place, column in enumerate(table.columns):
        column.overflow = "fold"
        if numbers_from is not None and place >= numbers_from:
            column.justify = "right"
    return table


def warn_of_unknown(share: float) -> None:
    """Warns where so large a share of the tokens is [UNK] that the vocabulary must be the wrong one."""
    if share > MOST_UNKNOWN:
        warn(f"{share:.0%} of the tokens are [UNK]: the vocabulary does not fit this text.")


def show_summary(console: Console, output: str, info: DatasetInfo, seconds: float) -> None:
    """Prints what a run made, and what about it looks wrong."""
    size = in_bytes(sum(shard.bytes for shard in info.shards))
    console.print(count_table(info))
    train = info.counts.get("train", {})
    unknown = train.get("unk_tokens", 0) / max(train.get("tokens", 0), 1)
    warn_of_unknown(unknown)
    sentence_tokens = train.get("tokens", 0) / max(train.get("sentences", 0), 1)
    truncated = truncated_share(train)
    if sentence_tokens > info.max_seq_length / 2 and truncated > MOST_TRUNCATED:
        warn(
            f"A sentence has {sentence_tokens:,.0f} tokens on average, an instance {info.max_seq_length}: "
            f"{truncated:.0%} of the tokens are truncated. If a line of your text is a paragraph, give "
            "--split-sentences en (or its language)."
        )
    if note := note_labels(Counter(train), info.objective):
        warn(note)
    if not info.examples_of("train"):
        warn("No example is left to train on; give more documents or a smaller --eval-fraction.")
    if info.config["eval_fraction"] and not info.examples_of("eval"):
        warn("No document was held out for evaluation; give a larger --eval-fraction.")
    for what, documents in info.counts.get("filtered", {}).items():
        console.print(f"Filtered: {documents:,} {what}")
    words = ("pool of tokens", "pools of tokens") if info.format == "tokens" else ("shard",)
    what = count(len(info.shards), *words)
    console.print(f"Wrote {output}: {what}, {size}, in {seconds:.1f} s")


def count_table(info: DatasetInfo) -> Table:
    """What is in the splits."""
    splits: list[Split] = [split for split in ("train", "eval") if info.shards_of(split)]
    is_drawn = info.format == "tokens"
    table = new_table("", *(f"{split}, copy 0" if is_drawn else split for split in splits), numbers_from=1)
    counts = [info.counts.get(split, {}) for split in splits]
    for name in ("documents", "sentences", "tokens", "instances"):
        table.add_row(name, *(f"{count.get(name, 0):,}" for count in counts))
    table.add_row("duplicate documents", *(f"{count.get('duplicate_documents', 0):,}" for count in counts))
    table.add_row("[UNK] tokens", *(_share(count, "unk_tokens", "tokens") for count in counts))
    if label := LABELLED_1.get(info.objective):
        table.add_row(label, *(_share(count, "random_next", "instances") for count in counts))
    table.add_row("tokens an instance", *(_mean(count, "instance_tokens", "instances") for count in counts))
    table.add_row("truncated tokens", *(f"{truncated_share(count):.2%}" for count in counts))
    if is_drawn:  # when they are masked, too
        return table
    table.add_row("predictions an instance", *(_mean(count, "masked_tokens", "instances") for count in counts))
    for kind in KINDS:
        table.add_row(f"  shown as {kind}", *(_share(count, f"masked_as_{kind}", "masked_tokens") for count in counts))
    return table


def _share(counts: dict[str, int], part: str, whole: str) -> str:
    return f"{counts.get(part, 0) / max(counts.get(whole, 0), 1):.2%}"


def truncated_share(counts: Mapping[str, int]) -> float:
    """The share of the tokens of a split that was cut off because an instance was full."""
    truncated = counts.get("truncated_tokens", 0)
    return float(truncated / max(1, truncated + counts.get("instance_tokens", 0)))


def _mean(counts: dict[str, int], total: str, number: str) -> str:
    return f"{counts.get(total, 0) / max(counts.get(number, 0), 1):.1f}"
