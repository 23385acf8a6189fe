"""Pools: which documents are drawn together, and the arrays that hold them.

A pool is a uniform random sample of the corpus, chosen by content, so a random next sentence drawn from the pool is
drawn from the corpus, without anyone holding the corpus.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import Split
from maskmill.pipeline.instances.seeding import hash_fraction
from maskmill.tokenizer.fast import FastTokenizer

# A pool is small enough to hold in memory and large enough to be a good sample.
MIN_DOCUMENTS_PER_POOL = 1_000
MIN_BYTES_PER_POOL = 4_000_000
MAX_BYTES_PER_POOL = 64_000_000  # about 32 MB of ids
LARGEST_POOL = 256_000_000  # bytes, where documents are so long that a pool holds only a few
MAX_TOKENS_PER_POOL = 2**31 - 1
POOLS_WANTED = 64  # enough to keep many workers busy


def count_pools(documents: int, content_bytes: int) -> int:
    """The number of pools for a corpus of so many documents and bytes of content (see `content_of`).

    Depends on the text alone, not on how it is stored, so that the output does too.

    >>> count_pools(1_000, 15_000_000), count_pools(10_000, 150_000_000), count_pools(6_000_000, 10_000_000_000)
    (1, 10, 156)
    """
    pool_size = min(max(content_bytes // POOLS_WANTED, MIN_BYTES_PER_POOL), MAX_BYTES_PER_POOL)
    pools = min(documents // MIN_DOCUMENTS_PER_POOL, content_bytes // pool_size)
    return max(1, pools, content_bytes // LARGEST_POOL)


@dataclass(frozen=True)
class Pools:
    """The pools of a dataset: `train` of them, then those that hold the documents held out for evaluation."""

    train: int
    eval: int

    @classmethod
    def plan(cls, config: InstanceConfig, documents: int, content_bytes: int) -> "Pools":
        """The pools for a corpus; the evaluation documents have pools of about the same size."""
        train = config.shards_per_copy
        if train is None:
            train = count_pools(documents, content_bytes)
        return cls(train, math.ceil(train * config.eval_fraction))

    def __len__(self) -> int:
        return self.train + self.eval

    def pool_of(self, digest: bytes, config: InstanceConfig) -> int:
        """The pool of the document with this digest."""
        place = hash_fraction(config.random_seed, "pool", digest)
        if hash_fraction(config.random_seed, "eval", digest) < config.eval_fraction:
            return self.train + int(place * self.eval)
        return int(place * self.train)

    def split_of(self, pool: int) -> tuple[Split, int]:
        """The split of a pool, and the pool's number within it."""
        return ("train", pool) if pool < self.train else ("eval", pool - self.train)

    def number_in(self, split: Split) -> int:
        """The number of pools in a split."""
        return self.train if split == "train" else self.eval


@dataclass(frozen=True)
class Pool:
    """Tokenised documents, ordered by digest, in flat arrays.

    Sentence `s` has the tokens `ids[sentence_offsets[s]:sentence_offsets[s + 1]]`; document `d` has the sentences
    `document_offsets[d]` up to `document_offsets[d + 1]`.
    """

    ids: NDArray[np.unsignedinteger]  # [tokens]
    sentence_offsets: NDArray[np.int64]  # [sentences + 1], in tokens
    document_offsets: NDArray[np.int64]  # [documents + 1], in sentences
    digests: list[bytes]  # [documents], ascending
    gathered: int = 0  # documents that came into it, whatever became of them
    empty: int = 0  # documents without a token, dropped
    duplicates: int = 0  # documents whose content another one has, too; dropped with `dedup`
    filtered: Counter[str] = field(default_factory=Counter)  # what else was dropped, see `PackedPool.unpack`

    @property
    def documents(self) -> int:
        """The number of documents in the pool."""
        return len(self.digests)

    @property
    def sentences(self) -> int:
        """The number of sentences."""
        return len(self.sentence_offsets) - 1


def pack_documents(
    documents: Sequence[Sequence[str]], digests: Sequence[bytes], tokenizer: FastTokenizer
) -> Iterator[bytes]:
    """Documents, each a list of sentences, to packed ones, tokenised all at once; sentences without tokens go."""
    ids, offsets = tokenizer.encode(sentence for sentences in documents for sentence in sentences)
    for sentences, digest, end in zip(documents, digests, accumulate(map(len, documents))):
        bounds = offsets[end - len(sentences) : end + 1]
        lengths = np.diff(bounds)
        yield pack_document(digest, ids[bounds[0] : bounds[-1]], lengths[lengths > 0])


def pack_document(digest: bytes, ids: NDArray[np.unsignedinteger], sentence_lengths: NDArray[np.integer]) -> bytes:
    """A tokenised document as bytes: digest, number of sentences and their lengths (uint32), ids.

    Args:
        digest: of its content, 16 bytes.
        ids: uint16 or uint32 [tokens].
        sentence_lengths: in tokens [sentences], each 1 or more.
    """
    header = np.concatenate([[len(sentence_lengths)], sentence_lengths]).astype(np.uint32)
    return digest + header.tobytes() + ids.tobytes()
