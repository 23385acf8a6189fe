"""The headline figures of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

from maskmill.deploy.report.charts import short
from maskmill.deploy.report.subject import ReportedDataset
from maskmill.deploy.terminal.numbers import in_bytes
from maskmill.deploy.terminal.tables import LABELLED_1
from maskmill.pipeline.analysis.chart_values import mean_of, share


@dataclass(frozen=True)
class Tile:
    """A headline figure, with a value and a note for each dataset."""

    label: str
    values: Sequence[str]
    notes: Sequence[str]


def list_tiles(subjects: Sequence[ReportedDataset]) -> list[Tile]:
    """The figures at the top of the report: a tile each, with a value for each dataset."""

    def tile(label: str, *pairs: tuple[str, str]) -> Tile:
        return Tile(label, [value for value, _ in pairs], [note for _, note in pairs])

    tiles = [
        tile("sequences", *map(_sequences, subjects)),
        tile("tokens", *((_number(one.stats.tokens), f"{_mean_length(one):,.1f} a sequence") for one in subjects)),
        tile("padding", *((f"{_padding(one):.1%}", "of all positions") for one in subjects)),
        tile(
            "predictions",
            *(
                (
                    f"{mean_of(one.stats.predictions):,.1f}",
                    f"a sequence, {share(one.stats.masked, one.stats.tokens):.1%} of tokens",
                )
                for one in subjects
            ),
        ),
    ]
    if {one.opened.objective for one in subjects} <= set(LABELLED_1):
        label = " / ".join(dict.fromkeys(LABELLED_1[one.opened.objective] for one in subjects))
        tiles.append(
            tile(
                label,
                *((f"{share(int(one.stats.labels[1]), one.stats.examples):.1%}", "of the pairs") for one in subjects),
            )
        )
    tiles += [
        tile("vocabulary in use", *map(_used, subjects)),
        tile("[UNK]", *map(_unknown, subjects)),
        tile("on disk", *map(_size, subjects)),
    ]
    return tiles


def _number(count: int) -> str:
    return short(count) if count >= 10_000_000 else f"{count:,}"


def _sequences(subject: ReportedDataset) -> tuple[str, str]:
    others = [
        f"{stats.examples:,} for {split}" for split, stats in subject.measure.stats.items() if split != subject.split
    ]
    return _number(subject.stats.examples), " and ".join([f"of {subject.opened.max_seq_length} positions", *others])


def _mean_length(subject: ReportedDataset) -> float:
    return share(subject.stats.tokens, subject.stats.examples)


def _padding(subject: ReportedDataset) -> float:
    return share(subject.stats.padding, subject.stats.examples * subject.opened.max_seq_length)


def _used(subject: ReportedDataset) -> tuple[str, str]:
    if not subject.opened.vocab:
        return "?", "give --vocab-file"
    counts = subject.stats.token_counts
    return f"{share(int((counts > 0).sum()), len(counts)):.1%}", f"of {len(counts):,} tokens"


def _unknown(subject: ReportedDataset) -> tuple[str, str]:
    if subject.unknown_tokens is None:
        return "?", "give --vocab-file"
    return f"{share(subject.unknown_tokens, subject.stats.tokens):.2%}", "of the tokens"


def _size(subject: ReportedDataset) -> tuple[str, str]:
    shards = subject.opened.shards
    size = sum(shard.bytes for shard in shards)
    return in_bytes(size), f"in {len(shards):,} shard{'s' if len(shards) > 1 else ''}"
