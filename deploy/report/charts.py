"""Plots of one dataset or of two over each other: the first filled, the second as a line, so that colour is not needed.

Each function takes a series for each dataset, and gives a matplotlib figure in the roles of `svg.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from maskmill.deploy.report.svg import FIRST, HEIGHT, INK, MUTED, PAPER, SECOND, TEXT, new_figure
from maskmill.deploy.terminal.printable import visible

Numbers = NDArray[np.floating[Any]]

FILL, FILL_UNDER = 0.85, 0.4  # opacity of the first dataset's bars, alone and with the line of a second over them
ROW_HEIGHT = 22  # of a bar chart of rows
TALLEST_ROW = 40  # where there are few
AXIS_HEIGHT = 46  # of what stands below them


@dataclass(frozen=True)
class Axis:
    """What an axis says: its title with the unit, how it writes a number, and where, if not at round numbers."""

    title: str
    format: Callable[[float], str] | None = None
    ticks: Sequence[float] | None = None


def plain(value: float) -> str:
    """A number on an axis: no more digits than are needed, thousands apart.

    >>> plain(0.0), plain(2.5), plain(12000.0)
    ('0', '2.5', '12,000')
    """
    return f"{value:,.6g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(value: float) -> str:
    """A share on an axis.

    >>> percent(0.15), percent(0.125), percent(1.0)
    ('15%', '12.5%', '100%')
    """
    return f"{value * 100:.4g}%"


def short(value: float) -> str:
    """A count that may be large, in little room.

    >>> short(950), short(1200), short(3_500_000), short(2e9)
    ('950', '1.2k', '3.5M', '2B')
    """
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def plot_histogram(edges: Sequence[Numbers], shares: Sequence[Numbers], x: Axis, y: Axis) -> Figure:
    """Shares by the bins between edges, [bins + 1] and [bins] for each dataset."""
    figure, axes = _new_axes(x, y)
    for number, (edge, share) in enumerate(zip(edges, shares)):
        _draw_steps(axes, edge, share, number, len(shares))
    axes.set_ylim(0, max(float(share.max(initial=0)) for share in shares) * 1.08 or 1)
    axes.set_xlim(min(edge[0] for edge in edges), max(edge[-1] for edge in edges))
    return figure


def plot_lines(
    points: Sequence[tuple[Numbers, Numbers]], x: Axis, y: Axis, *, levels: Sequence[float | None] = (), label: str = ""
) -> Figure:
    """Values at places, as steps from 0; `levels` are what is expected of each dataset, called by `label`."""
    figure, axes = _new_axes(x, y)
    for number, (places, values) in enumerate(points):
        width = places[1] - places[0] if len(places) > 1 else 1.0
        _draw_steps(axes, np.append(places, places[-1] + width), values, number, len(points))
    top = max([float(values.max(initial=0)) for _, values in points] + [level or 0 for level in levels])
    axes.set_ylim(0, top * 1.08 or 1)
    axes.set_xlim(0, max(places[-1] + (places[1] - places[0] if len(places) > 1 else 1) for places, _ in points))
    expected = sorted({level for level in levels if level is not None})
    for level in expected:
        axes.axhline(level, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    if expected:
        written = " and ".join((y.format or plain)(level) for level in expected)
        axes.set_title(f"- -  {label} {written}", loc="right", fontsize=TEXT, color=INK, pad=8, x=1)
    return figure


def plot_dots(
    values: Sequence[Numbers], levels: Sequence[float], margins: Sequence[Numbers], x: Axis, y: Axis
) -> Figure:
    """A value for each shard or group of shards, the whole's, and how far chance alone would take each from it."""
    figure, axes = _new_axes(x, y)
    for number, (shares, level, margin) in enumerate(zip(values, levels, margins)):
        places = np.arange(1, len(shares) + 1)
        colour = (FIRST, SECOND)[number]
        low, high = level - margin, level + margin
        outer = np.concatenate([places[:1] - 0.5, places + 0.5])
        axes.stairs(high, outer, baseline=low, fill=True, color=colour, alpha=0.16, linewidth=0)
        axes.hlines(level, outer[0], outer[-1], color=colour, linewidth=1.2)
        marker: dict[str, Any] = (
            {"marker": "o", "markersize": 4.6, "color": colour}
            if number == 0
            else {"marker": "D", "markersize": 4.6, "markerfacecolor": PAPER, "markeredgecolor": colour}
        )
        axes.plot(places, shares, linestyle="none", markeredgewidth=1.3, **marker)
    lowest = min(min(v.min(), (level - m).min()) for v, level, m in zip(values, levels, margins))
    highest = max(max(v.max(), (level + m).max()) for v, level, m in zip(values, levels, margins))
    room = max((highest - lowest) * 0.15, 0.002)
    axes.set_ylim(max(0, lowest - room), min(1, highest + room))
    axes.set_xlim(0.5, max(map(len, values)) + 0.5)
    return figure


def plot_rows(
    names: Sequence[str],
    values: Sequence[Sequence[float] | NDArray[np.int64]],
    x: Axis,
    write: Callable[[float], str],
    *,
    expected: Sequence[float] = (),
    names_above: bool = False,
    first: int = 0,
) -> Figure:
    """A bar for each name and dataset, its value behind all bars, and a mark where it is expected to end.

    Args:
        names: of the rows, from above.
        values: for each dataset one for each row.
        x: the axis of the values.
        write: a value as text.
        expected: for each row, or for none.
        names_above: puts long names above their bars.
        first: the number of the first dataset in `values`, which is 1 where the second is alone.
    """
    names = [visible(name) for name in names]
    rows, datasets = len(names), len(values)
    needed = ROW_HEIGHT + (datasets - 1) * 16 + (15 if names_above else 0)
    row_height = max(needed, min(TALLEST_ROW, (HEIGHT - AXIS_HEIGHT) / rows))
    figure = new_figure(AXIS_HEIGHT + rows * row_height)
    axes = figure.add_subplot()
    axes.grid(False)
    unit = 1 / row_height  # of the plot, in rows
    top = 16 * unit if names_above else 0.14
    thick = (0.94 - top if names_above else 1 - 2 * top) / datasets
    longest = max(len(write(value)) for row in values for value in row)
    for number, row in enumerate(values, first):
        at = np.arange(rows) - 0.5 + top + (number - first + 0.5) * thick
        colour = (FIRST, SECOND)[number]
        looks: dict[str, Any] = {"color": colour, "alpha": FILL, "linewidth": 0}
        if number:
            lines = [1.5 if value else 0 for value in row]
            looks = {"facecolor": "none", "edgecolor": colour, "linewidth": lines}
        axes.barh(at, row, height=thick - (2 * unit if datasets > 1 else 0), **looks)
        for place, value in zip(at, row):
            right = axes.get_yaxis_transform()
            axes.text(1, place, write(value), ha="right", va="center_baseline", color=INK, transform=right)
    for place, value in enumerate(expected):
        axes.vlines(value, place - 0.44, place + 0.44, color=INK, linewidth=1.6)
    if names_above:
        axes.set_yticks([])
        for place, name in enumerate(names):
            axes.text(
                0, place - 0.5 + 8 * unit, name, va="center_baseline", color=INK, transform=axes.get_yaxis_transform()
            )
    else:
        axes.set_yticks(np.arange(rows), names)
        axes.tick_params(axis="y", colors=INK)
    axes.set_ylim(rows - 0.5, -0.5)
    highest = max([*(value for row in values for value in row), *expected, 1e-12])
    axes.set_xlim(0, highest / (0.97 - 0.029 * longest))
    _label(axes, x, None)
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 4, 5, 10], integer=x.format is not percent))
    return figure


def plot_ranks(points: Sequence[tuple[Numbers, Numbers]], x: Axis, y: Axis) -> Figure:
    """Counts by rank, both logarithmic, beside the slope of Zipf's law: the count times the rank is constant."""
    figure, axes = _new_axes(x, y)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(True, axis="both")
    for number, (ranks, counts) in enumerate(points):
        style = "-" if number == 0 else (0, (5, 2))
        axes.plot(ranks, counts, color=(FIRST, SECOND)[number], linestyle=style, linewidth=2.2)
    last = max(float(ranks[-1]) for ranks, _ in points)
    top = max(float(counts[0]) for _, counts in points)
    axes.plot([1, last], [top, top / last], color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
    axes.set_xlim(1, last * 1.3)
    axes.set_ylim(0.7, top * 2.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, numticks=6))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    return figure


def _new_axes(x: Axis, y: Axis) -> tuple[Figure, Axes]:
    figure = new_figure()
    axes = figure.add_subplot()
    _label(axes, x, y)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def _label(axes: Axes, x: Axis, y: Axis | None) -> None:
    axes.set_xlabel(x.title)
    if x.ticks is not None:
        axes.set_xticks(x.ticks)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=x.format is None))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: (x.format or plain)(value)))
    if y:
        # Above the axis, where it is read without turning the head.
        axes.set_title(y.title, loc="left", fontsize=TEXT, color=MUTED, pad=8, x=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: (y.format or plain)(value)))


def _draw_steps(axes: Axes, edges: Numbers, values: Numbers, number: int, datasets: int) -> None:
    if number == 0:
        axes.stairs(values, edges, fill=True, color=FIRST, alpha=FILL if datasets == 1 else FILL_UNDER, linewidth=0)
    if datasets > 1:
        axes.stairs(values, edges, color=(FIRST, SECOND)[number], linewidth=1 if number == 0 else 1.8)
