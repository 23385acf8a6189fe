"""Thin Beam wrappers: unpack, call, count, yield. The rules are plain functions in the other modules."""

import math
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import ShardInfo
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pools import Pools, pack_documents
from maskmill.pipeline.instances.token_dataset import TokenDataset
from maskmill.pipeline.jobs.corpus import REJECTED, REPAIRED
from maskmill.pipeline.jobs.shards import ShardBuilder
from maskmill.pipeline.jobs.tally import add_to_tally
from maskmill.pipeline.reading.documents import Document, ReadOptions, Rejected, content_of, digest_of
from maskmill.pipeline.reading.duplicates import key_of
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.reading.parts import read_documents
from maskmill.pipeline.reading.rejected import write_rejected
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.tokenizer.counts import MAX_WORDS, FrequentWords, WordCounts, count_words
from maskmill.tokenizer.fast import FastTokenizer, WordSplitter, id_dtype
from maskmill.tokenizer.vocab import Vocab

BATCH_CHARACTERS = 2_000_000  # documents travel in lists of this size, so that the code after it vectorises
COUNTS = "counts"  # the output that carries (name, number), beside the main one
NAMESPACE = "maskmill"  # of the counters that an engine shows while it runs

Output = Any  # an element of the main output, or a TaggedOutput


@dataclass(frozen=True, slots=True)
class ChosenDocument:
    """A document whose pool is to be built in this run."""

    pool: int
    digest: bytes
    document: Document


@dataclass(frozen=True, slots=True)
class Sentences:
    """A document as its sentences."""

    pool: int
    digest: bytes
    sentences: list[str]


@dataclass
class ReadDocuments(beam.DoFn):
    """A part of a file -> lists of its raw documents; counts those read, repaired and rejected, by reason.

    Rejected ones are written to files in the folder `rejected`, if there is one. For `duplicates` see
    `find_duplicates`.
    """

    options: ReadOptions
    rejected: str | None = None

    def process(self, part: FilePart, duplicates: Container[bytes]) -> Iterator[Output]:
        counts: Counter[str] = Counter()
        rejected: list[Rejected] = []
        batch: list[Document] = []
        characters = 0
        for document in read_documents(part, self.options, duplicates):
            counts["documents/read"] += 1
            if isinstance(document, Rejected):
                counts[REJECTED + document.reason] += 1
                rejected.append(document)
                continue
            for repair in document.repairs:
                counts[REPAIRED + repair] += 1
            batch.append(document)
            characters += len(document.text)
            if characters >= BATCH_CHARACTERS:
                yield batch
                batch, characters = [], 0
        yield batch
        if self.rejected and rejected:
            write_rejected(self.rejected, part, rejected)
        Metrics.counter(NAMESPACE, "documents_read").inc(counts["documents/read"])
        yield from _tagged(counts)


class MeasureText(beam.DoFn):
    """Lists of raw documents -> how many they are, the bytes of their content, and a fingerprint of it."""

    def process(self, documents: list[Document]) -> Iterator[tuple[str, int]]:
        contents = [content_of(document.text) for document in documents]
        yield "documents", len(documents)
        yield "bytes", sum(map(len, contents))
        yield "fingerprint", sum(map(_fingerprint, documents))


def _fingerprint(document: Document) -> int:
    """Of what the sentences depend on. Four bytes, because Beam adds up in eight."""
    return int.from_bytes(digest_of(f"{document.lines_are_sentences} {document.text.strip()}".encode())[:4])


@dataclass
class WorkOnPart(beam.DoFn):
    """A part of a table -> nothing: what is made of it, `work` writes under a name that tells the part's number.

    So it is no matter when an engine has it done twice.
    """

    work: Callable[[FilePart], None]

    def process(self, part: FilePart) -> None:
        self.work(part)


@dataclass
class ChooseDocuments(beam.DoFn):
    """Lists of raw documents -> lists of those that are in the wanted pools; None: in any."""

    config: InstanceConfig
    wanted: Container[int] | None

    def process(self, documents: list[Document], pools: Pools) -> Iterator[list[ChosenDocument]]:
        chosen = []
        for document in documents:
            digest = digest_of(content_of(document.text))
            pool = pools.pool_of(digest, self.config)
            if self.wanted is None or pool in self.wanted:
                chosen.append(ChosenDocument(pool, digest, document))
        yield chosen


@dataclass
class SplitSentences(beam.DoFn):
    """Lists of chosen documents -> lists of their sentences."""

    options: ReadOptions

    def process(self, chosen: list[ChosenDocument]) -> Iterator[list[Sentences]]:
        yield [Sentences(c.pool, c.digest, split_sentences(c.document, self.options)) for c in chosen]


@dataclass
class TokenizeDocuments(beam.DoFn):
    """Lists of documents as sentences -> (pool, packed document)."""

    vocab: Vocab
    cased: bool
    progress: str | None = None  # a file that tells how many there were, for whoever watches

    def setup(self) -> None:
        self.tokenizer = FastTokenizer(self.vocab, self.cased)

    def process(self, documents: list[Sentences]) -> Iterator[tuple[int, bytes]]:
        packed = pack_documents(
            [document.sentences for document in documents], [document.digest for document in documents], self.tokenizer
        )
        yield from zip([document.pool for document in documents], packed)
        Metrics.counter(NAMESPACE, "documents_tokenized").inc(len(documents))
        if self.progress:
            add_to_tally(self.progress, len(documents))


@dataclass
class ReadPools(beam.DoFn):
    """A dataset of tokens with one pool -> (pool, packed document), by the pools of the dataset to make."""

    vocab: Vocab
    config: InstanceConfig
    wanted: Container[int] | None
    progress: str | None = None  # a file that tells how many there were, for whoever watches

    def process(self, dataset: Dataset, pools: Pools) -> Iterator[tuple[int, bytes]]:
        (shard,) = dataset.info.shards
        packed = TokenDataset(dataset, self.vocab).read_packed(shard)
        for digest, document in zip(packed.digests, packed.documents()):
            pool = pools.pool_of(digest.tobytes(), self.config)
            if self.wanted is None or pool in self.wanted:
                yield pool, document
        Metrics.counter(NAMESPACE, "documents_tokenized").inc(len(packed))
        if self.progress:
            add_to_tally(self.progress, len(packed))


@dataclass
class BuildShards(beam.DoFn):
    """(pool, its packed documents) -> the pool's shards, written; those finished before are left."""

    vocab: Vocab
    targets: Sequence[Target]

    def setup(self) -> None:
        self.builders = [ShardBuilder(self.vocab, target) for target in self.targets]

    def process(self, element: tuple[int, Iterable[bytes]], pools: Pools) -> Iterator[ShardInfo]:
        number, packed = element
        pool = PackedPool.gather(filter(None, packed), id_dtype(len(self.vocab)))
        for builder in self.builders:
            for shard in builder.build(number, pool, pools):
                Metrics.counter(NAMESPACE, "shards_written").inc()
                Metrics.counter(NAMESPACE, "instances_written").inc(shard.examples)
                yield shard


class ListKeys(beam.DoFn):
    """Lists of raw documents -> the keys of those that have ids, one after the other, see `find_duplicates`."""

    def process(self, documents: list[Document]) -> Iterator[bytes]:
        yield b"".join(key_of(document.id, document.text) for document in documents if document.id is not None)


class SumWords(beam.CombineFn):
    """Lists of raw documents -> how often each word occurs; of all words, or of those that were found frequent."""

    def __init__(self, cased: bool, frequent: FrequentWords | None):
        self.cased = cased
        self.frequent = frequent

    def setup(self) -> None:
        self.splitter = WordSplitter(self.cased)

    def create_accumulator(self) -> WordCounts:
        return WordCounts(math.inf if self.frequent else MAX_WORDS)

    def add_input(self, words: WordCounts, documents: list[Document]) -> WordCounts:
        counts = count_words(self.splitter, (document.text for document in documents))
        words.add(self.frequent.select(counts) if self.frequent else counts)
        return words

    def merge_accumulators(self, parts: Iterable[WordCounts]) -> WordCounts:
        whole, *others = parts
        for part in others:
            whole.merge(part)
        return whole

    def extract_output(self, words: WordCounts) -> WordCounts:
        return words


def _tagged(counts: dict[str, int]) -> Iterator[TaggedOutput]:
    return (TaggedOutput(COUNTS, (name, number)) for name, number in counts.items())
