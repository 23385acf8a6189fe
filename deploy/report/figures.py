"""What a figure of a report is: a plot, what it says in a sentence for each dataset, and its numbers as a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure as Plot

from maskmill.deploy.report.subject import ReportedDataset
from maskmill.deploy.report.svg import to_svg
from maskmill.pipeline.analysis.chart_values import share


@dataclass(frozen=True)
class Table:
    """Rows of text under their heads; all but the first column are numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """A plot with its words."""

    name: str  # unlike any other's
    title: str
    sentences: Sequence[tuple[ReportedDataset, str]]  # what there is to see in each dataset
    note: str  # how to read it
    svg: Markup
    table: Table


def finish(
    plot: Plot,
    name: str,
    title: str,
    subjects: Sequence[ReportedDataset],
    say: Callable[[ReportedDataset], str],
    table: Table,
    note: str = "",
) -> Figure:
    """Puts a figure together; `say` is what there is to see in a dataset."""
    sentences = [(subject, say(subject)) for subject in subjects]
    told = [said if len(subjects) == 1 else f"{subject.name}: {said}" for subject, said in sentences]
    return Figure(name, title, sentences, note, to_svg(plot, name, title, " ".join([*told, note]).strip()), table)


def called(subject: ReportedDataset, subjects: Sequence[ReportedDataset], what: str) -> str:
    """The head of a column: with the dataset's name where there are two."""
    return what if len(subjects) == 1 else f"{subject.name}: {what}"


def heads(first: str, subjects: Sequence[ReportedDataset], what: str = "number") -> list[str]:
    """The heads of a table of numbers and shares."""
    return [first, *(called(one, subjects, name) for one in subjects for name in (what, "share"))]


def cells(numbers: Sequence[int], wholes: Sequence[int]) -> list[str]:
    """Numbers, and the shares that they are of their wholes."""
    return [cell for number, whole in zip(numbers, wholes) for cell in (f"{number:,}", f"{share(number, whole):.2%}")]
