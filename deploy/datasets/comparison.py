"""`maskmill compare`: what two datasets have in common, on the terminal or as JSON."""

import math
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from maskmill.deploy.terminal.messages import print_json
from maskmill.deploy.terminal.tables import new_console, new_table
from maskmill.pipeline.analysis.compared_stats import ASSUMED_DESIGN_EFFECT, ComparedStatistic
from maskmill.pipeline.analysis.comparing import Comparison, compare_datasets
from maskmill.pipeline.analysis.opened_datasets import open_dataset

STYLES = {"differs": "bold red", "repair": "yellow", "negligible": "yellow"}
VERDICTS = {
    "same bytes": "A and B are the same, byte by byte",
    "same content": "A and B hold the same examples, in another order or written by another program",
    "agree": "A and B agree in distribution",
    "agree but for repairs": "A and B agree in distribution but for the repairs",
    "differ": "A and B differ",
}


def show_comparison(a: str, b: str, vocab_file: str | None, num_workers: int | None, as_json: bool) -> bool:
    """Prints what two datasets have in common -> whether they are the same or agree."""
    comparison = compare_datasets(open_dataset(a, vocab_file), open_dataset(b, vocab_file), num_workers)
    if as_json:
        print_json(to_values(a, b, comparison))
        return comparison.is_alike
    console = new_console(unfolded=True)
    console.print(f"A is {a}\nB is {b}")
    if comparison.configuration:
        table = new_table("option", "A", "B")
        for name, *values in comparison.configuration:
            table.add_row(name, *("not given" if value is None else str(value) for value in values))
        console.print(table)
    for split, contents in comparison.content.items():
        console.print(f"{split}: {contents[0].examples:,} examples in A, {contents[1].examples:,} in B")
    if comparison.rows:
        console.print(_table(comparison))
        console.print(_explain_chance(comparison))
    console.print(tell_verdict(comparison), style="bold" if comparison.is_alike else "bold red")
    return comparison.is_alike


def tell_verdict(comparison: Comparison) -> str:
    """The outcome in one sentence."""

    def of(verdict: str) -> list[ComparedStatistic]:
        rows = [row for row in comparison.rows if row.verdict == verdict]
        return sorted(rows, key=lambda row: row.difference.effect if row.difference else math.inf, reverse=True)

    said = [*comparison.reasons, *(f"{row.name} ({row.a} in A, {row.b} in B)" for row in of("differs"))]
    besides = "besides, " if comparison.outcome == "differ" else ""
    said += [f"{besides}{row.note} (a repair, docs/parity.md)" for row in of("repair")]
    if negligible := ", ".join(row.name for row in of("negligible")):
        said.append(f"what differs more than by chance is too little to matter ({negligible})")
    elif comparison.outcome == "agree":
        said.append("they are no further apart than two random seeds are")
    return ": ".join(filter(None, (VERDICTS[comparison.outcome], "; ".join(said)))) + "."


def to_values(a: str, b: str, comparison: Comparison) -> dict[str, Any]:
    """All of it, for JSON."""
    return {
        "a": a,
        "b": b,
        "outcome": comparison.outcome,
        "verdict": tell_verdict(comparison),
        "reasons": comparison.reasons,
        "configuration": [{"option": name, "a": mine, "b": others} for name, mine, others in comparison.configuration],
        "content": {
            split: [{"examples": content.examples, "digest": f"{content.digest:032x}"} for content in contents]
            for split, contents in comparison.content.items()
        },
        "spread_from": comparison.spread_from,
        "statistics": [asdict(row) for row in comparison.rows],
    }


def _explain_chance(comparison: Comparison) -> str:
    if comparison.spread_from:
        source = f"from the copies of {' and '.join(comparison.spread_from)}"
    else:
        source = f"assumed (variance times {ASSUMED_DESIGN_EFFECT:g}): neither has a manifest and copies enough to tell"
    return (
        f"How far chance reaches is {source}. x chance: the chi-square over what chance makes it on average; effect: "
        "half of Cohen's w, for two shares near 50 % their distance; found from: the effect that would have been found."
    )


def _table(comparison: Comparison) -> Table:
    table = new_table("", "A", "B", "x chance", "p", "effect", "found from", "", numbers_from=1)
    table.columns[-1].justify = "left"
    table.columns[0].min_width = max(len(word) for row in comparison.rows for word in row.name.split())
    for column in table.columns[3:]:
        column.no_wrap = True
    for row in comparison.rows:
        verdict = Text(row.verdict, STYLES.get(row.verdict, ""))
        table.add_row(row.name, row.a, row.b, *_describe_difference(row), verdict)
    return table


def _describe_difference(row: ComparedStatistic) -> list[str]:
    if not (difference := row.difference):
        return [""] * 4
    return [
        f"{difference.chi_square / difference.by_chance:,.1f}" if difference.by_chance else "",
        f"{difference.p_value:.2g}",
        f"{difference.effect:.4f}",
        f"{difference.detectable:.4f}",
    ]
