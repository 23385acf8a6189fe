"""Datasets to an HTML page that needs nothing else: figures, findings and examples, in a template of jinja2."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from maskmill.deploy.report import dataset_figures, sequence_figures
from maskmill.deploy.report.examples import show_token
from maskmill.deploy.report.figures import Figure, Table, called
from maskmill.deploy.report.findings import list_findings
from maskmill.deploy.report.headline import list_tiles
from maskmill.deploy.report.request import ReportRequest
from maskmill.deploy.report.subject import ReportedDataset, load_subject, name_subjects
from maskmill.deploy.report.svg import in_style
from maskmill.deploy.terminal.messages import warn
from maskmill.deploy.terminal.printable import visible
from maskmill.deploy.terminal.tables import new_talk
from maskmill.pipeline.analysis.chart_values import kinds_of_tokens
from maskmill.pipeline.analysis.opened_datasets import open_dataset
from maskmill.pipeline.dataset.schema import MANIFEST
from maskmill.pipeline.reading.files import list_files
from maskmill.pipeline.storage.storage import claim_files, exists

SHOWN_UNUSED = 12  # tokens of each kind that never occur


@dataclass(frozen=True)
class UnusedTokens:
    """Tokens of a kind that never occur."""

    kind: str
    tokens: int  # of the vocabulary
    unused: int
    examples: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A part of the page: figures, and for each dataset whose vocabulary is known the tokens that never occur."""

    name: str
    title: str
    figures: Sequence[Figure]
    unused: Sequence[tuple[ReportedDataset, Sequence[UnusedTokens]]] = ()
    note: str = ""


def write_report(request: ReportRequest) -> None:
    """Reads one dataset or two and writes the page, whole or not at all.

    Raises InputError, before anything is read where the output exists, and where a dataset cannot be read.
    """
    console, datasets, output, documents = new_talk(), request.datasets, request.output, request.documents
    if documents:
        list_files(documents)  # before anything is read
    with claim_files([output], request.overwrite) as claim:
        opened = [open_dataset(dataset, choose_vocab(dataset, datasets, request.vocab_file)) for dataset in datasets]
        with console.status("Reading"):
            subjects = [
                load_subject(one, number, name, request.num_workers, documents)
                for number, (one, name) in enumerate(zip(opened, name_subjects(datasets)), 1)
            ]
        page = render(subjects)
        with claim.create_file(output) as file:
            file.write(page.encode())
    console.print(f"Wrote {output}: {len(page.encode()) / 1e3:,.0f} kB on {describe(subjects)}")
    for subject in subjects:
        for sentence in list_findings(subject):
            warn(called(subject, subjects, sentence))


def choose_vocab(dataset: str, datasets: Sequence[str], vocab_file: str | None) -> str | None:
    """The vocabulary file that is given for a dataset: beside one of others, ours keeps its own."""
    has_own = len(datasets) > 1 and exists(os.path.join(dataset, MANIFEST))
    return None if has_own else vocab_file


def describe(subjects: Sequence[ReportedDataset]) -> str:
    """How many sequences were read."""
    numbers = [sum(shard.examples for shard in subject.measure.shards) for subject in subjects]
    return " and ".join(
        f"{number:,} sequence{'' if number == 1 else 's'} of {subject.opened.directory}"
        for number, subject in zip(numbers, subjects)
    )


def render(subjects: Sequence[ReportedDataset]) -> str:
    """The page. The same subjects give the same text."""
    with in_style():
        sections = list_sections(subjects)
    page = load_template().render(
        subjects=subjects,
        style=Markup(files(__package__).joinpath("style.css").read_text(encoding="utf-8")),
        tiles=list_tiles(subjects),
        findings=[(subject, list_findings(subject)) for subject in subjects],
        sections=sections,
        config=list_config(subjects),
        show_token=show_token,
    )
    return page


@cache
def load_template() -> Template:
    """The page's template, which escapes whatever comes from a dataset."""
    environment = Environment(
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.from_string(files(__package__).joinpath("template.html.j2").read_text(encoding="utf-8"))


def _finalize(value: Any) -> Any:
    """What the template prints: characters that a page must not have, or that hide, as escapes."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def list_sections(subjects: Sequence[ReportedDataset]) -> list[Section]:
    """The parts of the page that have figures."""
    documents = list(dataset_figures.draw_documents(subjects))
    unknown = list(dataset_figures.draw_unknown(subjects))
    missing = [
        called(one, subjects, one.unknown.missing) for one in subjects if one.unknown.missing and one.unknown_tokens
    ]
    used = [] if documents else [called(subject, subjects, _say_unused(subject)) for subject in subjects]
    return [
        Section("sequences", "Sequences", list(sequence_figures.draw_sequences(subjects))),
        Section("masking", "Masking", list(sequence_figures.draw_masking(subjects))),
        Section("shards", "Shards", list(dataset_figures.draw_shards(subjects))),
        Section(
            "vocabulary",
            "Vocabulary",
            [*dataset_figures.draw_tokens(subjects), *unknown],
            [(subject, list_unused(subject)) for subject in subjects if subject.opened.vocab],
            " ".join(missing),
        ),
        Section("documents", "Documents", documents, note=" ".join(used)),
    ]


def _say_unused(subject: ReportedDataset) -> str:
    return (
        "Every document was used as it was." if subject.counts else "Without a manifest nobody knows what was rejected."
    )


def list_unused(subject: ReportedDataset) -> list[UnusedTokens]:
    """The tokens that never occur, by kind, of which the first are shown. None where the vocabulary is not known."""
    vocab = subject.opened.vocab
    if vocab is None:
        return []
    found = []
    for kind, ids in kinds_of_tokens(vocab).items():
        unused = [id for id in ids if not subject.stats.token_counts[id]]
        found.append(UnusedTokens(kind, len(ids), len(unused), [vocab.tokens[id] for id in unused[:SHOWN_UNUSED]]))
    return found


def list_config(subjects: Sequence[ReportedDataset]) -> Table:
    """What the datasets were made with, option by option."""
    columns: list[dict[str, Any]] = []
    for subject in subjects:
        info, vocab = subject.opened.info, subject.opened.vocab
        known: dict[str, Any] = dict(subject.config)
        known["vocabulary"] = f"{len(vocab):,} tokens, sha256 {vocab.sha256[:12]}" if vocab else "not known"
        known["maskmill"] = info.maskmill_version if info else "made by another program"
        columns.append(known)
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [[name, *(str(column.get(name, "not known")) for column in columns)] for name in names]
    return Table(["option", *(subject.name if len(subjects) > 1 else "value" for subject in subjects)], rows)
