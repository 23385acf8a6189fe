"""Thin Beam wrappers: unpack, call, count, yield. The rules are plain functions in the other modules."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import ShardInfo
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.instances.common import deal_copies, most_together
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pools import (
    Place,
    Pools,
    TokenizedDocument,
    copies_of,
    pack_documents,
    place_of,
    with_copies,
)
from maskmill.pipeline.instances.token_dataset import TokenDataset
from maskmill.pipeline.jobs.corpus import REJECTED, REPAIRED
from maskmill.pipeline.jobs.shards import ShardBuilder
from maskmill.pipeline.jobs.tally import add_to_tally
from maskmill.pipeline.reading.documents import DIGEST_BYTES, Document, ReadOptions, Rejected, content_of, digest_of
from maskmill.pipeline.reading.duplicates import MeasuredDocument, fingerprint_of, hash_content, hash_id
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.reading.parts import read_documents
from maskmill.pipeline.reading.rejected import add_rejected, write_rejected
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.pipeline.spill.ids import IdRow, IdWriter
from maskmill.pipeline.spill.runs import Group, RunWriter
from maskmill.pipeline.spill.spill import Spill
from maskmill.tokenizer.counts import MAX_WORDS, FrequentWords, WordCounts, count_words
from maskmill.tokenizer.fast import FastTokenizer, WordSplitter, id_dtype
from maskmill.tokenizer.vocab import Vocab

BATCH_CHARACTERS = 2_000_000  # documents travel in lists of this size, so that the code after it vectorises
COMMON = "common"  # the output with the copies of common documents, see `ChoosePools`
COUNTS = "counts"  # the output that carries (name, number), beside the main one
NAMESPACE = "maskmill"  # of the counters that an engine shows while it runs

COMBINED_BYTES = 16_000_000  # of common documents, which are combined before they are shuffled

# Keys hold the numbers of the pools as well: each step that is given these as a side input takes an engine memory.
PoolKey = tuple[int, int, int]  # the pool, and the numbers of pools to train and to evaluate on
DigestKey = tuple[bytes, int, int]
Output = Any  # an element of the main output, or a TaggedOutput


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document, the part of a file that it was read from, and its place."""

    document: Document
    part: FilePart
    digest: bytes
    place: Place

    @property
    def id_hash(self) -> int | None:
        """See `hash_id`; None where documents have no ids."""
        return None if self.document.id is None else hash_id(self.document.id)


@dataclass
class ReadDocuments(beam.DoFn):
    """Parts of files -> lists of their documents, and counts of those read, repaired and rejected, by reason.

    Rejected ones are written to files in the folder `rejected`, if there is one.
    """

    options: ReadOptions
    rejected: str | None = None

    def process(self, parts: Sequence[FilePart]) -> Iterator[Output]:
        counts: Counter[str] = Counter()
        batch: list[tuple[FilePart, Document]] = []
        characters = 0
        for part in parts:
            rejected: list[Rejected] = []
            for document in read_documents(part, self.options):
                counts["documents/read"] += 1
                if isinstance(document, Rejected):
                    counts[REJECTED + document.reason] += 1
                    rejected.append(document)
                    continue
                for repair in document.repairs:
                    counts[REPAIRED + repair] += 1
                batch.append((part, document))
                characters += len(document.text)
                if characters >= BATCH_CHARACTERS:
                    yield batch
                    batch, characters = [], 0
            if self.rejected and rejected:
                write_rejected(self.rejected, part, rejected)
        yield batch
        Metrics.counter(NAMESPACE, "documents_read").inc(counts["documents/read"])
        yield from _tagged(counts)


@dataclass
class MeasureDocuments(beam.DoFn):
    """Lists of documents -> the same with their places; counts documents, bytes of their content, a fingerprint."""

    config: InstanceConfig

    def process(self, documents: list[tuple[FilePart, Document]]) -> Iterator[Output]:
        placed, size = [], 0
        for part, document in documents:
            content = content_of(document.text)
            size += len(content)
            digest = digest_of(content)
            placed.append(ReadDocument(document, part, digest, place_of(digest, self.config)))
        yield placed
        fingerprint = sum(fingerprint_of(document) for _, document in documents)
        yield from _tagged({"documents": len(placed), "bytes": size, "fingerprint": fingerprint})


@dataclass
class WorkOnPart(beam.DoFn):
    """A part of a table -> nothing: what is made of it, `work` writes under a name that tells the part's number.

    So it is no matter when an engine has it done twice.
    """

    work: Callable[[FilePart], None]

    def process(self, part: FilePart) -> None:
        self.work(part)


@dataclass
class TokenizeDocuments(beam.DoFn):
    """Lists of documents -> tokenised documents."""

    options: ReadOptions
    vocab: Vocab
    cased: bool
    progress: str | None = None  # a file that tells how many there were, for whoever watches

    def setup(self) -> None:
        self.tokenizer = FastTokenizer(self.vocab, self.cased)

    def process(self, documents: list[ReadDocument]) -> Iterator[TokenizedDocument]:
        sentences = [split_sentences(one.document, self.options) for one in documents]
        packed = pack_documents(sentences, [one.digest for one in documents], self.tokenizer)
        for one, of_document in zip(documents, packed):
            yield TokenizedDocument(one.place, of_document, one.id_hash)
        _count_tokenized(len(documents), self.progress)


@dataclass
class ReadTokens(beam.DoFn):
    """A dataset of tokens with one pool -> its tokenised documents."""

    vocab: Vocab
    config: InstanceConfig
    progress: str | None = None  # a file that tells how many there were, for whoever watches

    def process(self, dataset: Dataset) -> Iterator[TokenizedDocument]:
        (shard,) = dataset.info.shards
        packed = TokenDataset(dataset, self.vocab).read_packed(shard)
        for digest, document in zip(packed.digests, packed.documents()):
            yield TokenizedDocument(place_of(digest.tobytes(), self.config), document)
        _count_tokenized(len(packed), self.progress)


@dataclass
class SpillDocuments(beam.DoFn):
    """Tokenised documents -> nothing: they are written to the spill."""

    folder: str
    task: str
    buffer_bytes: int

    def setup(self) -> None:
        self.writer = RunWriter(self.folder, self.task, self.buffer_bytes)

    def process(self, document: TokenizedDocument) -> None:
        self.writer.add(document)

    def finish_bundle(self) -> None:
        self.writer.flush()


@dataclass
class SpillIds(beam.DoFn):
    """Lists of documents -> nothing: what is known of those with ids is written to the spill."""

    folder: str
    task: str

    def setup(self) -> None:
        self.writer = IdWriter(self.folder, self.task)

    def process(self, documents: list[ReadDocument]) -> None:
        for one in documents:
            if one.id_hash is not None:
                measured = MeasuredDocument.of(one.document, one.part)
                self.writer.add(IdRow(one.id_hash, hash_content(one.digest), Group.of(one.place), measured))

    def finish_bundle(self) -> None:
        self.writer.flush()


@dataclass
class BuildShards(beam.DoFn):
    """(pool, its documents as `ChoosePools` gives them) -> the shards of the pool, but for those finished before."""

    vocab: Vocab
    targets: Sequence[Target]

    def setup(self) -> None:
        self.builders = [ShardBuilder(self.vocab, target) for target in self.targets]

    def process(self, element: tuple[PoolKey, Iterable[tuple[int, bytes]]]) -> Iterator[ShardInfo]:
        (number, train, held_out), documents = element
        yield from self.build(number, keep_documents(documents), Pools(train, held_out))

    def build(self, number: int, packed: Iterable[bytes], pools: Pools) -> Iterator[ShardInfo]:
        """The shards of a pool with these documents."""
        dedup = self.targets[0].config.dedup  # then equal documents are held once
        pool = PackedPool.gather(packed, id_dtype(len(self.vocab)), combined=dedup)
        for builder in self.builders:
            for shard in builder.build(number, pool, pools):
                Metrics.counter(NAMESPACE, "shards_written").inc()
                Metrics.counter(NAMESPACE, "instances_written").inc(shard.examples)
                yield shard


@dataclass
class BuildFromSpill(BuildShards):
    """The number of a pool -> its shards, of the documents that the spill holds."""

    folder: str
    tasks: Collection[str]

    def setup(self) -> None:
        super().setup()
        self.spill = Spill(self.folder, self.tasks)

    def process(self, number: int, pools: Pools) -> Iterator[ShardInfo]:  # type: ignore[override]
        yield from self.build(number, self.spill.read_pool(pools, number), pools)


@dataclass(frozen=True, slots=True)
class RepeatedId:
    """A document that is rejected because another one has its id."""

    id_hash: int
    digest: bytes
    measured: MeasuredDocument

    def as_tokenized(self, config: InstanceConfig) -> TokenizedDocument:
        """What goes where the document goes, so that it is not kept there: its digest alone, see `keep_documents`."""
        return TokenizedDocument(place_of(self.digest, config), self.digest, self.id_hash)


def list_ids(documents: list[ReadDocument]) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
    """The documents with ids: (hash of the id, (digest, what was measured as JSON))."""
    for one in documents:
        if one.id_hash is not None:
            yield one.id_hash, (one.digest, MeasuredDocument.of(one.document, one.part).to_json())


def list_digests(documents: list[ReadDocument]) -> Iterator[tuple[bytes, int]]:
    """The digests of documents, with the number of documents that have each."""
    return iter(Counter(one.digest for one in documents).items())


def count_copies(document: TokenizedDocument) -> tuple[bytes, int]:
    """The same of a tokenised document."""
    return document.packed[:DIGEST_BYTES], copies_of(document.packed)


def is_common(copies: tuple[bytes, int], pools: Pools, corpus: Mapping[str, int]) -> bool:
    """Whether a digest has too many copies for one pool, see `common.py`."""
    return copies[1] > most_together(corpus["documents"], pools)


class FindRepeatedIds(beam.DoFn):
    """(hash of an id, its documents as `list_ids` gives them) -> those that are rejected, see `find_repeated`."""

    def process(self, element: tuple[int, Iterable[tuple[bytes, bytes]]]) -> Iterator[RepeatedId]:
        id_hash, documents = element
        kept = min(hash_content(digest) for digest, _ in documents)
        for digest, measured in documents:
            if hash_content(digest) != kept:
                yield RepeatedId(id_hash, digest, MeasuredDocument.from_json(measured))


@dataclass
class ListRepeated(beam.DoFn):
    """(number of a part, its documents with repeated ids) -> nothing: they are listed with those rejected before."""

    rejected: str

    def process(self, element: tuple[int, Iterable[bytes]]) -> None:
        documents = [MeasuredDocument.from_json(data) for data in element[1]]
        add_rejected(self.rejected, documents[0].part, [one.as_rejected() for one in documents])


@dataclass
class ChoosePools(beam.DoFn):
    """Tokenised documents -> (pool, (hash of the id, packed document)); equal ones of `common` are combined.

    Where their copies are dealt out, those go to the output `COMMON`, with their digest in place of a pool.
    """

    are_dealt: bool

    def start_bundle(self) -> None:
        self.copies: Counter[tuple[PoolKey | DigestKey, int, bytes]] = Counter()
        self.bytes = 0

    def process(self, document: TokenizedDocument, pools: Pools, common: Mapping[bytes, int]) -> Iterator[Output]:
        place, packed, id_hash = document
        digest = packed[:DIGEST_BYTES]
        if digest not in common:
            yield key_of(pools.pool_at(place), pools), (id_hash or 0, packed)
            return
        of_dealt = digest, pools.train, pools.eval
        key = of_dealt if self.are_dealt else key_of(pools.pool_at(place), pools)
        if packed == digest:
            yield self._output(key, (id_hash or 0, packed))
            return
        one = (key, id_hash or 0, with_copies(packed, 1))
        self.bytes += 0 if one in self.copies else len(packed)
        self.copies[one] += copies_of(packed)
        if self.bytes > COMBINED_BYTES:
            yield from self._combine()

    def finish_bundle(self) -> Iterator[Output]:
        for one in self._combine():
            if isinstance(one, TaggedOutput):
                yield TaggedOutput(one.tag, GlobalWindows.windowed_value(one.value))
            else:
                yield GlobalWindows.windowed_value(one)

    def _combine(self) -> list[Output]:
        combined = [
            self._output(key, (id_hash, with_copies(packed, copies)))
            for (key, id_hash, packed), copies in self.copies.items()
        ]
        self.start_bundle()
        return combined

    def _output(self, key: PoolKey | DigestKey, value: tuple[int, bytes]) -> Output:
        return TaggedOutput(COMMON, (key, value)) if self.are_dealt else (key, value)


@dataclass
class DealCopies(beam.DoFn):
    """(digest, its documents as `ChoosePools` gives them) -> the same by pools, see `deal_copies`."""

    config: InstanceConfig

    def process(self, element: tuple[DigestKey, Iterable[tuple[int, bytes]]]) -> Iterator[Output]:
        (digest, train, held_out), documents = element
        pools = Pools(train, held_out)
        for pool, packed in deal_copies(keep_documents(documents), place_of(digest, self.config), pools):
            yield key_of(pool, pools), (0, packed)


def key_of(pool: int, pools: Pools) -> PoolKey:
    """The key under which the documents of a pool are gathered."""
    return pool, pools.train, pools.eval


def keep_documents(documents: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """Packed documents, each with the hash of its id, without those of repeated ids, of which the digest is there, too.

    Those of a pool or of a digest; the iterable is gone through twice.
    """
    rejected = {one for one in documents if len(one[1]) == DIGEST_BYTES}
    for id_hash, packed in documents:
        if len(packed) > DIGEST_BYTES and (id_hash, packed[:DIGEST_BYTES]) not in rejected:
            yield packed


class SumWords(beam.CombineFn):
    """Lists of documents -> how often each word occurs; of all words, or of those that were found frequent."""

    def __init__(self, cased: bool, frequent: FrequentWords | None):
        self.cased = cased
        self.frequent = frequent

    def setup(self) -> None:
        self.splitter = WordSplitter(self.cased)

    def create_accumulator(self) -> WordCounts:
        return WordCounts(math.inf if self.frequent else MAX_WORDS)

    def add_input(self, words: WordCounts, documents: list[tuple[FilePart, Document]]) -> WordCounts:
        counts = count_words(self.splitter, (document.text for _, document in documents))
        words.add(self.frequent.select(counts) if self.frequent else counts)
        return words

    def merge_accumulators(self, parts: Iterable[WordCounts]) -> WordCounts:
        whole, *others = parts
        for part in others:
            whole.merge(part)
        return whole

    def extract_output(self, words: WordCounts) -> WordCounts:
        return words


def _count_tokenized(documents: int, progress: str | None) -> None:
    Metrics.counter(NAMESPACE, "documents_tokenized").inc(documents)
    if progress:
        add_to_tally(progress, documents)


def _tagged(counts: Mapping[str, int]) -> Iterator[TaggedOutput]:
    return (TaggedOutput(COUNTS, (name, number)) for name, number in counts.items())
