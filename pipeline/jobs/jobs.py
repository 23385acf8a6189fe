"""Jobs: what each reads and makes, as plain data. `dag.py` has the DAG of each.

Whoever makes a job needs no Beam, whose import takes seconds; only `build` imports it, where the job is run.
"""

from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.tables.fields import TableFormat
from maskmill.tokenizer.counts import FrequentWords
from maskmill.tokenizer.vocab import Vocab

if TYPE_CHECKING:
    import apache_beam as beam

Share = tuple[int, int]  # (i, n): of all parts of the files number i and every n-th after it
EVERYTHING: Share = (0, 1)


class Job(Protocol):
    """What an engine runs."""

    def build(self, pipeline: "beam.Pipeline") -> None:
        """Adds the steps of its DAG to a pipeline."""


@dataclass(frozen=True)
class MeasureCorpus:
    """Measures a corpus on one machine: a cheap first reading."""

    inputs: Sequence[str]
    options: ReadOptions
    duplicates: Container[bytes] = ()  # keys of documents to reject, see `find_duplicates`
    rejected: str | None = None  # folder for the lists of rejected documents
    share: Share = EVERYTHING
    result: str = ""  # file for the keys of documents with ids and the measures, see `write_result`

    def build(self, pipeline: "beam.Pipeline") -> None:
        """Adds the steps of its DAG to a pipeline."""
        from maskmill.pipeline.jobs.dag import measure_corpus

        measure_corpus(pipeline, self)


@dataclass(frozen=True)
class CountWords:
    """Counts the words of a corpus, as BERT's basic tokenizer makes them."""

    inputs: Sequence[str]
    options: ReadOptions
    cased: bool
    frequent: FrequentWords | None = None  # the words to count; None: all
    share: Share = EVERYTHING
    result: str = ""  # file for the words and the counts of reading, see `write_result`

    def build(self, pipeline: "beam.Pipeline") -> None:
        """Adds the steps of its DAG to a pipeline."""
        from maskmill.pipeline.jobs.dag import count_words

        count_words(pipeline, self)


@dataclass(frozen=True, kw_only=True)
class BuildDatasets:
    """What the two jobs that build shards have in common."""

    inputs: Sequence[str]  # of documents; or datasets of tokens, where `corpus` says what was measured of these
    options: ReadOptions
    vocab: Vocab
    targets: Sequence[Target]  # which differ in the lengths of instances alone
    wanted: Collection[int] | None = None  # numbers of the pools to build; None: all
    progress: str | None = None  # file that counts the documents that were tokenised, see `add_to_tally`
    corpus: Mapping[str, int] | None = None  # of datasets of tokens, see `TokenInput`


@dataclass(frozen=True, kw_only=True)
class GenerateShards(BuildDatasets):
    """Builds the shards of the wanted pools of a corpus that was measured, on one machine."""

    pools: Pools
    duplicates: Container[bytes] = ()  # keys of documents to reject, see `find_duplicates`

    def build(self, pipeline: "beam.Pipeline") -> None:
        """Adds the steps of its DAG to a pipeline."""
        from maskmill.pipeline.jobs.dag import generate_shards

        generate_shards(pipeline, self)


@dataclass(frozen=True, kw_only=True)
class GenerateDataset(BuildDatasets):
    """Makes whole datasets in one job, which needs nobody to wait for it."""

    max_rejected: float  # share of the documents
    rejected: str  # folder for the lists of rejected documents
    facts: Mapping[str, Any] = field(default_factory=dict)  # about the run, for run.json
    overwrite: bool = False  # see `divide_corpus`

    def build(self, pipeline: "beam.Pipeline") -> None:
        """Adds the steps of its DAG to a pipeline."""
        from maskmill.pipeline.jobs.dag import generate_dataset

        generate_dataset(pipeline, self)


@dataclass(frozen=True)
class WorkOnTable:
    """Has a trained model work on the parts of a table. Models are nothing that this package knows of."""

    table: str
    input_format: TableFormat
    part_bytes: int
    work: Callable[[FilePart], None]  # writes what it makes of a part
    share: Share = EVERYTHING

    def build(self, pipeline: "beam.Pipeline") -> None:
        """Adds the steps of its DAG to a pipeline."""
        from maskmill.pipeline.jobs.dag import work_on_table

        work_on_table(pipeline, self)
