"""Thin Beam wrappers: unpack, call, count, yield. The rules are plain functions in the other modules."""

import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from pipeline.config import InstanceConfig
from pipeline.documents import RawDocument, ReadOptions, Rejected, count_bytes, read_documents
from pipeline.plan import Target
from pipeline.pools import Pools, digest_of, pack_documents, unpack_pool
from pipeline.sentences import split_sentences
from pipeline.shards import ShardBuilder
from pipeline.unfinished import Unfinished
from tokenizer.counts import MAX_WORDS, FrequentWords, WordCounts, count_words
from tokenizer.fast import FastTokenizer, WordSplitter, id_dtype
from tokenizer.vocab import Vocab

BATCH_CHARACTERS = 2_000_000  # documents travel in lists of this size, so that the code after it vectorises
COUNTS = "counts"  # the output that carries (name, number), beside the main one

Sentences = list[str]
Output = Any  # an element of the main output, or a TaggedOutput


@dataclass
class ReadDocuments(beam.DoFn):
    """A file's path -> lists of its raw documents; counts those read, and those set aside by reason."""

    options: ReadOptions

    def process(self, path: str) -> Iterator[Output]:
        counts: Counter[str] = Counter()
        batch: list[RawDocument] = []
        characters = 0
        for document in read_documents(path, self.options):
            counts["documents/read"] += 1
            if isinstance(document, Rejected):
                counts[f"set_aside/{document.reason}"] += 1
                continue
            batch.append(document)
            characters += len(document.text)
            if characters >= BATCH_CHARACTERS:
                yield batch
                batch, characters = [], 0
        yield batch
        yield from _tagged(counts)


@dataclass
class SplitSentences(beam.DoFn):
    """Lists of raw documents -> lists of documents, each a list of sentences."""

    options: ReadOptions

    def process(self, documents: list[RawDocument]) -> Iterator[list[Sentences]]:
        yield [split_sentences(document, self.options) for document in documents]


class MeasureText(beam.DoFn):
    """Lists of raw documents -> how many they are, their bytes (see `count_bytes`), and a fingerprint."""

    def process(self, documents: list[RawDocument]) -> Iterator[tuple[str, int]]:
        yield "documents", len(documents)
        yield "bytes", sum(count_bytes(document.text) for document in documents)
        yield "fingerprint", sum(int.from_bytes(digest_of([document.text])[:4]) for document in documents)


@dataclass
class TokenizeDocuments(beam.DoFn):
    """Lists of documents -> (pool, packed document), for the documents of the wanted pools."""

    vocab: Vocab
    config: InstanceConfig
    pools: Pools
    wanted: Container[int]
    unfinished: Unfinished  # which is told of the progress

    def setup(self) -> None:
        self.tokenizer = FastTokenizer(self.vocab, self.config.cased)

    def process(self, documents: list[Sentences]) -> Iterator[tuple[int, bytes]]:
        digests = [digest_of(sentences) for sentences in documents]
        pools = [self.pools.pool_of(digest, self.config) for digest in digests]
        is_wanted = [pool in self.wanted for pool in pools]
        chosen = list(compress(documents, is_wanted))
        packed = pack_documents(chosen, list(compress(digests, is_wanted)), self.tokenizer)
        yield from zip(compress(pools, is_wanted), packed)
        self.unfinished.count_tokenized(len(chosen))


@dataclass
class BuildShards(beam.DoFn):
    """(pool, its packed documents) -> the names of the pool's shards, written; those finished before are left."""

    vocab: Vocab
    targets: Sequence[Target]
    pools: Pools
    finished: Sequence[Container[str]]  # for each target

    def setup(self) -> None:
        self.builders = [ShardBuilder(self.vocab, target, self.pools) for target in self.targets]

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[str]:
        number, packed = element
        pool = unpack_pool(filter(None, packed), id_dtype(len(self.vocab)), self.targets[0].config.dedup)
        for builder, finished in zip(self.builders, self.finished):
            yield from builder.build(number, pool, finished)


class CountWords(beam.CombineFn):
    """Lists of raw documents -> how often each word occurs; of all words, or of those that were found frequent."""

    def __init__(self, cased: bool, frequent: FrequentWords | None):
        self.cased = cased
        self.frequent = frequent

    def setup(self) -> None:
        self.splitter = WordSplitter(self.cased)

    def create_accumulator(self) -> WordCounts:
        return WordCounts(math.inf if self.frequent else MAX_WORDS)

    def add_input(self, words: WordCounts, documents: list[RawDocument]) -> WordCounts:
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
