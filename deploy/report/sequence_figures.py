"""Figures of what sequences look like: lengths, segments, and what is masked."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from maskmill.deploy.report import charts
from maskmill.deploy.report.charts import Axis, percent
from maskmill.deploy.report.figures import Figure, Table, called, cells, finish, heads
from maskmill.deploy.report.subject import ReportedDataset
from maskmill.pipeline.analysis.chart_values import (
    attention_on_padding,
    into_bins,
    mean_of,
    predicted_by_position,
    share,
)
from maskmill.pipeline.analysis.stats import KINDS, Histogram

BINS = 32  # of a histogram over the length of a sequence
POSITIONS = 128  # steps of a curve along a sequence
EXPECTED_KINDS = (0.8, 0.1, 0.1)  # of BERT, in the order of KINDS
KINDS_IN_WORDS = dict(zip(KINDS, ("[MASK]", "the token itself", "another token")))


def draw_sequences(subjects: Sequence[ReportedDataset]) -> Iterator[Figure]:
    """Lengths and segments."""
    yield _draw_lengths(
        subjects,
        "lengths",
        "Sequence lengths",
        "tokens in a sequence, with [CLS] and [SEP]",
        lambda subject: subject.stats.lengths,
        _say_lengths,
        "A model computes padding like text, and throws the result away.",
    )
    yield _draw_lengths(
        subjects,
        "segment-a",
        "Segment A",
        "tokens in segment A, without [CLS] and [SEP]",
        lambda subject: subject.stats.lengths_a,
        lambda subject: f"{mean_of(subject.stats.lengths_a):,.1f} tokens on average.",
    )
    pairs = [subject for subject in subjects if subject.opened.objective != "mlm"]
    if len(pairs) == len(subjects):
        yield _draw_lengths(
            subjects,
            "segment-b",
            "Segment B",
            "tokens in segment B, without [SEP]",
            lambda subject: subject.stats.lengths_b,
            lambda subject: f"{mean_of(subject.stats.lengths_b):,.1f} tokens on average.",
        )


def _say_lengths(subject: ReportedDataset) -> str:
    stats, longest = subject.stats, subject.opened.max_seq_length
    padding = share(stats.padding, stats.examples * longest)
    full, attention = share(stats.lengths[-1], stats.examples), attention_on_padding(stats.lengths)
    return (
        f"{full:.1%} are full, with {longest} tokens. {padding:.1%} of the positions are padding, and so are "
        f"{attention:.1%} of the pairs that attention compares."
    )


def _draw_lengths(
    subjects: Sequence[ReportedDataset],
    name: str,
    title: str,
    of: str,
    take: Callable[[ReportedDataset], Histogram],
    say: Callable[[ReportedDataset], str],
    note: str = "",
) -> Figure:
    longest = max(subject.opened.max_seq_length for subject in subjects)
    width = -(-longest // BINS)
    bins = [into_bins(take(subject), width) for subject in subjects]
    edges = [np.arange(len(one) + 1) * float(width) for one in bins]
    shares = [one / max(one.sum(), 1) for one in bins]
    ticks = [longest * quarter / 4 for quarter in range(5)]
    plot = charts.plot_histogram(edges, shares, Axis(of, ticks=ticks), Axis("share of the sequences", percent))
    names = [
        f"{place * width + 1:,}–{(place + 1) * width:,}" if width > 1 else f"{place + 1:,}" for place in range(BINS)
    ]
    names[0] = f"0{names[0][1:]}" if take(subjects[0])[0] else names[0]
    rows = [
        [names[place], *cells([one[place] if place < len(one) else 0 for one in bins], [one.sum() for one in bins])]
        for place in range(max(map(len, bins)))
    ]
    return finish(plot, name, title, subjects, say, Table(heads("tokens", subjects), rows), note)


def draw_masking(subjects: Sequence[ReportedDataset]) -> Iterator[Figure]:
    """Predictions, their positions, and what stands there."""
    yield _draw_predictions(subjects)
    yield _draw_positions(subjects)
    yield _draw_kinds(subjects)


def _draw_predictions(subjects: Sequence[ReportedDataset]) -> Figure:
    most = max(subject.opened.max_predictions_per_seq for subject in subjects)
    width = -(-most // 40)
    histograms = [subject.stats.predictions for subject in subjects]
    bins = [np.add.reduceat(one, np.arange(0, len(one), width)) for one in histograms]
    edges = [np.arange(len(one) + 1) * width - 0.5 for one in bins]
    shares = [one / max(one.sum(), 1) for one in bins]
    plot = charts.plot_histogram(
        edges, shares, Axis("masked positions in a sequence"), Axis("share of the sequences", percent)
    )
    names = [
        f"{place * width:,}–{(place + 1) * width - 1:,}" if width > 1 else f"{place:,}" for place in range(most + 1)
    ]
    rows = [
        [names[place], *cells([one[place] if place < len(one) else 0 for one in bins], [one.sum() for one in bins])]
        for place in range(max(map(len, bins)))
    ]

    def say(subject: ReportedDataset) -> str:
        stats, allowed = subject.stats, subject.opened.max_predictions_per_seq
        most = int(np.flatnonzero(stats.predictions).max(initial=0))
        return (
            f"{mean_of(stats.predictions):,.1f} on average, {share(stats.masked, stats.tokens):.1%} of the tokens. "
            f"{share(stats.predictions[most], stats.examples):.1%} of the sequences have {most}, the most that occur; "
            f"{allowed} are allowed."
        )

    return finish(
        plot, "predictions", "Predictions per sequence", subjects, say, Table(heads("predictions", subjects), rows)
    )


def _draw_positions(subjects: Sequence[ReportedDataset]) -> Figure:
    longest = max(subject.opened.max_seq_length for subject in subjects)
    width = -(-longest // POSITIONS)
    curves = [predicted_by_position(one.stats.positions, one.stats.lengths, width) for one in subjects]
    points = [(np.arange(len(curve)) * float(width), curve) for curve in curves]
    asked = [subject.config.get("masked_lm_prob") for subject in subjects]
    plot = charts.plot_lines(
        points,
        Axis("position in the sequence, from 0", ticks=[longest * quarter / 4 for quarter in range(5)]),
        Axis("predicted, of the tokens there", percent),
        levels=asked,
        label="asked for",
    )
    rows = [
        [
            f"{place * width:,}–{(place + 1) * width - 1:,}" if width > 1 else f"{place:,}",
            *(f"{curve[place]:.2%}" if place < len(curve) else "" for curve in curves),
        ]
        for place in range(max(map(len, curves)))
    ]

    def say(subject: ReportedDataset) -> str:
        curve = predicted_by_position(subject.stats.positions, subject.stats.lengths, width)
        inner = curve[1:-1] if len(curve) > 2 else curve
        return (
            f"{share(subject.stats.masked, subject.stats.tokens):.1%} of the tokens are predicted, "
            f"{inner.min():.1%} to {inner.max():.1%} by their position."
        )

    head = ["positions", *(called(subject, subjects, "predicted") for subject in subjects)]
    return finish(
        plot,
        "positions",
        "Masked positions along the sequence",
        subjects,
        say,
        Table(head, rows),
        "[CLS], at 0, and [SEP] are never predicted.",
    )


def _draw_kinds(subjects: Sequence[ReportedDataset]) -> Figure:
    shares = [[share(count, subject.stats.masked) for count in subject.stats.kinds] for subject in subjects]
    names = [KINDS_IN_WORDS[kind] for kind in KINDS]
    plot = charts.plot_rows(
        names,
        shares,
        Axis("share of the masked positions", percent),
        lambda value: f"{value:.2%}",
        expected=EXPECTED_KINDS,
    )
    rows = [
        [name, *cells([int(one.stats.kinds[place]) for one in subjects], [one.stats.masked for one in subjects])]
        for place, name in enumerate(names)
    ]

    def say(subject: ReportedDataset) -> str:
        mask, same, random = (share(count, subject.stats.masked) * 100 for count in subject.stats.kinds)
        return f"{mask:.2f} / {same:.2f} / {random:.2f} of 100."

    table = Table(heads("what stands there", subjects), rows)
    return finish(
        plot, "kinds", "What stands at masked positions", subjects, say, table, "The marks are at BERT's 80 / 10 / 10."
    )
