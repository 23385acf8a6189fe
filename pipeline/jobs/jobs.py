"""Jobs: what each reads and makes, as plain data. `dag.py` has the DAG of each.

Whoever makes a job needs no Beam, whose import takes seconds; only `build` imports it, where the job is run.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.spill.folder import RESULT, SpillFolder
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


@dataclass(frozen=True, kw_only=True)
class SpillCorpus:
    """Tokenises some of the documents on one machine, and writes them to a spill."""

    parts: Sequence[FilePart]  # of the files of documents,
    token_pools: Sequence[Dataset] = ()  # or datasets of tokens, each with one pool
    options: ReadOptions
    vocab: Vocab
    config: InstanceConfig  # of which the seed and the share held out matter
    folder: str  # of the spill
    name: str  # of the task
    buffer_bytes: int  # of memory for documents that are not written yet
    progress: str | None = None  # file that counts the documents that were tokenised, see `add_to_tally`

    @property
    def result(self) -> str:
        """The file with the counts, which says that the task is finished; see `write_result`."""
        return os.path.join(self.folder, self.name + RESULT)

    @property
    def rejected(self) -> str:
        """The folder for the lists of rejected documents."""
        return SpillFolder(self.folder).rejected(self.name)

    def build(self, pipeline: "beam.Pipeline") -> None:
        """Adds the steps of its DAG to a pipeline."""
        from maskmill.pipeline.jobs.dag import spill_corpus

        spill_corpus(pipeline, self)


@dataclass(frozen=True, kw_only=True)
class BuildPools:
    """Builds the shards of pools whose documents are in a spill."""

    folder: str  # of the spill
    tasks: Collection[str]  # that wrote it
    wanted: Sequence[int]  # numbers of the pools
    pools: Pools
    vocab: Vocab
    targets: Sequence[Target]  # which differ in the lengths of instances alone

    def build(self, pipeline: "beam.Pipeline") -> None:
        """Adds the steps of its DAG to a pipeline."""
        from maskmill.pipeline.jobs.dag import build_pools

        build_pools(pipeline, self)


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
class GenerateDataset:
    """Makes whole datasets in one job, which needs nobody to wait for it."""

    inputs: Sequence[str]  # of documents; or datasets of tokens, where `corpus` says what was measured of these
    options: ReadOptions
    vocab: Vocab
    targets: Sequence[Target]  # which differ in the lengths of instances alone
    max_rejected: float  # share of the documents
    rejected: str  # folder for the lists of rejected documents
    facts: Mapping[str, Any] = field(default_factory=dict)  # about the run, for run.json
    overwrite: bool = False  # see `divide_corpus`
    corpus: Mapping[str, int] | None = None  # of datasets of tokens, see `TokenInput`

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
