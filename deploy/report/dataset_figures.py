"""Figures of a dataset as a whole: its shards, its tokens, and the documents that it was made from."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from maskmill.deploy.report import charts
from maskmill.deploy.report.charts import Axis, percent, short
from maskmill.deploy.report.figures import Figure, Table, called, cells, finish, heads
from maskmill.deploy.report.subject import ReportedDataset
from maskmill.deploy.terminal.numbers import in_bytes
from maskmill.deploy.terminal.tables import LABELLED_1
from maskmill.pipeline.analysis.chart_values import (
    chance_of_share,
    count_classes,
    group_shards,
    name_classes,
    rank_tokens,
    share,
)
from maskmill.pipeline.analysis.readable_examples import name_token

TOP_TOKENS = 20  # in the table of the most frequent
TOP_UNKNOWN = 12  # characters, and words, behind [UNK]


def draw_shards(subjects: Sequence[ReportedDataset]) -> Iterator[Figure]:
    """Labels and sizes by shard."""
    objectives = {subject.opened.objective for subject in subjects}
    if objectives <= set(LABELLED_1):
        yield _draw_labels(subjects, " or ".join(LABELLED_1[one] for one in sorted(objectives)))
    yield _draw_sizes(subjects)


def _draw_labels(subjects: Sequence[ReportedDataset], what: str) -> Figure:
    ones = [group_shards([one.labels[1] for one in subject.shards])[0] for subject in subjects]
    groups = [group_shards([one.examples for one in subject.shards]) for subject in subjects]
    shares = [one / np.maximum(of, 1) for one, (of, _) in zip(ones, groups)]
    wholes = [share(one.sum(), of.sum()) for one, (of, _) in zip(ones, groups)]
    margins = [chance_of_share(whole, of) for whole, (of, _) in zip(wholes, groups)]
    plot = charts.plot_dots(
        shares,
        wholes,
        margins,
        Axis(_shard_axis([size for _, size in groups])),
        Axis(f"{what}, share of the pairs", percent),
    )
    rows = [
        [f"{place + 1:,}", *(f"{one[place]:.2%}" if place < len(one) else "" for one in shares)]
        for place in range(max(map(len, shares)))
    ]

    def say(subject: ReportedDataset) -> str:
        number = list(subjects).index(subject)
        inside = int((np.abs(shares[number] - wholes[number]) <= margins[number]).sum())
        size = groups[number][1]
        one, several = ("shard", "shards") if size == 1 else ("group", f"groups of {size} shards")
        return (
            f"{wholes[number]:.2%} of the pairs, {shares[number].min():.2%} to {shares[number].max():.2%} by {one}; "
            f"within the band: {inside} of {len(shares[number])} {several}."
        )

    table = Table([_shard_axis([size for _, size in groups]), *(called(one, subjects, what) for one in subjects)], rows)
    title = what[0].upper() + what[1:]
    return finish(
        plot,
        "labels",
        f"{title}, shard by shard",
        subjects,
        say,
        table,
        "Chance alone leaves the band once in 100 times.",
    )


def _draw_sizes(subjects: Sequence[ReportedDataset]) -> Figure:
    groups = [group_shards([one.shard.bytes for one in subject.shards]) for subject in subjects]
    megabytes = [one / size / 1e6 for one, size in groups]
    edges = [np.arange(len(one) + 1) + 0.5 for one in megabytes]
    axis = Axis(_shard_axis([size for _, size in groups]))
    plot = charts.plot_histogram(edges, megabytes, axis, Axis("MB a shard"))
    rows = [
        [f"{place + 1:,}", *(f"{one[place]:,.2f}" if place < len(one) else "" for one in megabytes)]
        for place in range(max(map(len, megabytes)))
    ]

    def say(subject: ReportedDataset) -> str:
        sizes = [one.shard.bytes for one in subject.shards]
        examples = [one.examples for one in subject.shards]
        if len(sizes) == 1:
            return f"One shard of {in_bytes(sizes[0])}, with {examples[0]:,} sequences."
        return (
            f"{len(sizes):,} shards of {in_bytes(min(sizes))} to {in_bytes(max(sizes))}, with {min(examples):,} to "
            f"{max(examples):,} sequences each."
        )

    table = Table([axis.title, *(called(one, subjects, "MB") for one in subjects)], rows)
    return finish(plot, "sizes", "Shard sizes", subjects, say, table)


def _shard_axis(sizes: Sequence[int]) -> str:
    if max(sizes) == 1:
        return "shard, in reading order"
    return f"groups of {' and '.join(f'{size:,}' for size in dict.fromkeys(sizes))} shards, in reading order"


def draw_tokens(subjects: Sequence[ReportedDataset]) -> Iterator[Figure]:
    """Tokens by frequency."""
    plot = charts.plot_ranks(
        [rank_tokens(subject.stats.token_counts) for subject in subjects],
        Axis("rank of the token by frequency"),
        Axis("occurrences"),
    )

    def say(subject: ReportedDataset) -> str:
        counts = np.sort(subject.stats.token_counts)[::-1]
        half = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2)) + 1
        return f"{'One token makes' if half == 1 else f'{half:,} tokens make'} up half of all {short(counts.sum())}."

    note = "Masked tokens count as what they were, special ones too. The dotted line has the slope of Zipf's law."
    yield finish(plot, "zipf", "Tokens by frequency", subjects, say, _top_tokens(subjects), note)
    classes = [count_classes(subject.stats.token_counts) for subject in subjects]
    plot = charts.plot_rows(
        name_classes(), classes, Axis("tokens of the vocabulary", short), lambda value: f"{value:,.0f}"
    )

    def say_used(subject: ReportedDataset) -> str:
        size = len(subject.stats.token_counts)
        never = int((subject.stats.token_counts == 0).sum())
        known = "" if subject.opened.vocab else ", up to the largest that occurs: the vocabulary is not known"
        return f"{never:,} of {size:,} ids never occur, {share(never, size):.1%}{known}."

    rows = [
        [name, *cells([int(one[place]) for one in classes], [int(one.sum()) for one in classes])]
        for place, name in enumerate(name_classes())
    ]
    table = Table(heads("occurs", subjects, "tokens"), rows)
    yield finish(plot, "used", "How often each token occurs", subjects, say_used, table)


def _top_tokens(subjects: Sequence[ReportedDataset]) -> Table:
    columns = []
    for subject in subjects:
        counts = subject.stats.token_counts
        ids = np.argsort(-counts, kind="stable")[:TOP_TOKENS].tolist()
        columns.append([(name_token(subject.opened, id), int(counts[id])) for id in ids])
    head = ["rank", *(called(subject, subjects, name) for subject in subjects for name in ("token", "occurrences"))]
    rows = [
        [
            f"{rank + 1}",
            *(
                cell
                for column in columns
                for cell in ((column[rank][0], f"{column[rank][1]:,}") if rank < len(column) else ("", ""))
            ),
        ]
        for rank in range(max(map(len, columns)))
    ]
    return Table(head, rows)


def draw_unknown(subjects: Sequence[ReportedDataset]) -> Iterator[Figure]:
    """The characters behind `[UNK]`, a figure for each dataset that has any."""
    for number, subject in enumerate(subjects):
        coverage = subject.unknown.coverage
        if not coverage or not coverage.unknown_words:
            continue
        characters, words = rank(coverage.lost_characters), rank(coverage.unknown_words)
        what, most = ("characters", characters) if characters else ("words", words)
        shown = most[:TOP_UNKNOWN]
        names = [name_character(text) if what == "characters" else text for text, _ in shown]
        plot = charts.plot_rows(
            names,
            [[count for _, count in shown]],
            Axis("occurrences in the sample", short),
            lambda count: f"{count:,.0f}",
            first=number,
        )
        rest = f" and {len(most) - len(shown):,} more" if len(most) > len(shown) else ""

        def say(subject: ReportedDataset, what: str = what, total: int = len(most), rest: str = rest) -> str:
            coverage = subject.unknown.coverage
            assert coverage
            return (
                f"In a sample of {subject.unknown.documents:,} documents {coverage.unknown_words.total():,} of "
                f"{coverage.words:,} words become [UNK], {share(coverage.unknown_words.total(), coverage.words):.2%}. "
                f"{total:,} {what} are behind it{', the most frequent of which are shown' if rest else ''}."
            )

        rows = [[word, f"{count:,}"] for word, count in words[:TOP_TOKENS]]
        title = f"{what.capitalize()} behind [UNK]"
        name = f"unknown-{number + 1}"
        yield finish(plot, name, title, [subject], say, Table(["word that becomes [UNK]", "occurrences"], rows))


def rank(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent first, and of equals the one that is first in the order of code points."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def name_character(character: str) -> str:
    """A character and its code point, since it may be one that no font has.

    >>> name_character("é"), name_character(chr(7))
    ('é U+00E9', 'U+0007')
    """
    point = f"U+{ord(character):04X}"
    return f"{character} {point}" if character.isprintable() and not character.isspace() else point


def draw_documents(subjects: Sequence[ReportedDataset]) -> Iterator[Figure]:
    """What became of the documents that were not used as they were; no figure where there are none."""
    known = [subject for subject in subjects if subject.counts]
    lists = [list_unused(subject.counts) for subject in known]
    reasons = list(dict.fromkeys(reason for one in lists for reason in one))
    if not reasons:
        return
    values = [[one.get(reason, 0) for reason in reasons] for one in lists]
    first = subjects.index(known[0])
    axis = Axis("number", short)
    plot = charts.plot_rows(reasons, values, axis, lambda count: f"{count:,.0f}", names_above=True, first=first)

    def say(subject: ReportedDataset) -> str:
        if not subject.counts:
            return "Without a manifest nobody knows."
        rejected = sum(subject.counts.get("set_aside", {}).values())
        read = subject.counts.get("documents", {}).get("read", 0)
        return f"{rejected:,} of {read:,} documents were rejected, {share(rejected, read):.2%}."

    rows = [[reason, *(f"{one[place]:,}" for one in values)] for place, reason in enumerate(reasons)]
    table = Table(["what and why", *(called(subject, subjects, "number") for subject in known)], rows)
    yield finish(plot, "documents", "Rejected, repaired, filtered", subjects, say, table)


def list_unused(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """What a manifest says of documents that were not used as they were, in words -> how many; none that are 0.

    >>> list_unused({"documents": {"read": 9, "empty": 1}, "set_aside": {"empty text": 2}})
    {'rejected: empty text': 2, 'without a token': 1}
    """
    found = {f"rejected: {reason}": count for reason, count in counts.get("set_aside", {}).items()}
    found |= {f"repaired: {what}": count for what, count in counts.get("repaired", {}).items()}
    found["without a token"] = counts.get("documents", {}).get("empty", 0)
    found["duplicates"] = sum(counts.get(split, {}).get("duplicate_documents", 0) for split in ("train", "eval"))
    found |= {f"filtered: {what}": count for what, count in counts.get("filtered", {}).items()}
    return {name: count for name, count in found.items() if count}
