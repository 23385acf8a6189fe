"""Thin Beam wrappers: unpack, call, count, yield. The rules are plain functions in the other modules."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.pvalue import TaggedOutput

from pipeline.config import InstanceConfig
from pipeline.documents import RawDocument, ReadOptions, Rejected, read_documents
from pipeline.pools import Pools, digest_of, pack_document, unpack_pool
from pipeline.sentences import split_sentences
from pipeline.shards import ShardBuilder
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
    """Lists of raw documents -> their number and that of their characters, blanks not counted."""

    def process(self, documents: list[RawDocument]) -> Iterator[tuple[str, int]]:
        yield "documents", len(documents)
        yield "characters", sum(len("".join(document.text.split())) for document in documents)


@dataclass
class TokenizeDocuments(beam.DoFn):
    """Lists of documents -> (pool, packed document); counts those without a token."""

    vocab: Vocab
    config: InstanceConfig
    pools: Pools

    def setup(self) -> None:
        self.tokenizer = FastTokenizer(self.vocab, self.config.cased)

    def process(self, documents: list[Sentences]) -> Iterator[Output]:
        empty = 0
        ids, offsets = self.tokenizer.encode(sentence for sentences in documents for sentence in sentences)
        ends = accumulate(map(len, documents))
        for sentences, end in zip(documents, ends):
            bounds = offsets[end - len(sentences) : end + 1]
            lengths = np.diff(bounds)
            if not lengths.any():
                empty += 1
                continue
            digest = digest_of(sentences)
            packed = pack_document(digest, ids[bounds[0] : bounds[-1]], lengths[lengths > 0])
            yield self.pools.pool_of(digest, self.config), packed
        yield from _tagged({"documents/empty": empty})


@dataclass
class BuildShards(beam.DoFn):
    """(pool, its packed documents) -> the pool's shards, written and described; counts what they hold."""

    vocab: Vocab
    config: InstanceConfig
    pools: Pools
    output: Path

    def setup(self) -> None:
        self.builder = ShardBuilder(self.vocab, self.config, self.pools, self.output)

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Output]:
        number, packed = element
        pool = unpack_pool(filter(None, packed), id_dtype(len(self.vocab)))
        for shard, counts in self.builder.build(number, pool):
            yield shard
            yield from _tagged(counts)


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
