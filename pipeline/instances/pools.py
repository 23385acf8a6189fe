"""Pools: which documents are drawn together, and the arrays that hold them.

A pool is a uniform random sample of the corpus, chosen by content, so a random next sentence drawn from the pool is
drawn from the corpus, without anyone holding the corpus.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

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
LONG_DOCUMENTS_POOL = 256_000_000  # bytes, where documents are so long that a pool holds only a few
# A dataset of terabytes has larger pools, so that it is some ten thousand files: millions of them are slow everywhere.
# A pool of 1 GB takes 2.5 GB of memory in the worker that builds it.
MANY_POOLS, LARGEST_POOL = 4_096, 1_000_000_000
MAX_TOKENS_PER_POOL = 2**31 - 1
POOLS_WANTED = 64  # enough to keep many workers busy
COPIES_BYTES = 4  # at the end of a packed document


def count_pools(documents: int, content_bytes: int) -> int:
    """The number of pools for a corpus of so many documents and bytes of content (see `content_of`).

    Depends on the text alone, not on how it is stored, so that the output does too.

    >>> count_pools(1_000, 15_000_000), count_pools(10_000, 150_000_000), count_pools(6_000_000, 10_000_000_000)
    (1, 10, 156)
    >>> count_pools(200_000_000, 10**12), count_pools(2_000_000_000, 10**13)  # 1 TB and 10 TB
    (4096, 10000)
    """
    pool_size = min(max(content_bytes // POOLS_WANTED, MIN_BYTES_PER_POOL), MAX_BYTES_PER_POOL)
    pool_size = max(pool_size, min(content_bytes // MANY_POOLS, LARGEST_POOL))
    pools = min(documents // MIN_DOCUMENTS_PER_POOL, content_bytes // pool_size)
    return max(1, pools, content_bytes // max(LONG_DOCUMENTS_POOL, pool_size))


class Place(NamedTuple):
    """Where a document is, before it is known how many pools there are."""

    split: Split
    at: float  # in [0, 1)


class TokenizedDocument(NamedTuple):
    """A tokenised document on its way to a pool."""

    place: Place
    packed: bytes  # see `pack_document`
    id_hash: int | None = None  # see `hash_id`; None where documents have no ids


def place_of(digest: bytes, config: InstanceConfig) -> Place:
    """The place of the document with this digest: a uniform draw, and whether it is held out another one."""
    is_held_out = hash_fraction(config.random_seed, "eval", digest) < config.eval_fraction
    return Place("eval" if is_held_out else "train", hash_fraction(config.random_seed, "pool", digest))


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
        return self.pool_at(place_of(digest, config))

    def pool_at(self, place: Place) -> int:
        """The pool of the documents at this place: each pool has an interval of the places of its split."""
        number = int(place.at * self.number_in(place.split))
        return number if place.split == "train" else self.train + number

    def middle_of(self, pool: int) -> Place:
        """A place of a pool."""
        split, number = self.split_of(pool)
        return Place(split, (number + 0.5) / self.number_in(split))

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


def pack_document(
    digest: bytes, ids: NDArray[np.unsignedinteger], sentence_lengths: NDArray[np.integer], copies: int = 1
) -> bytes:
    """A tokenised document as bytes: digest, number of sentences and their lengths, ids, number of copies.

    Numbers and lengths are uint32.

    Args:
        digest: of its content, 16 bytes.
        ids: uint16 or uint32 [tokens].
        sentence_lengths: in tokens [sentences], each 1 or more.
        copies: how many equal documents it stands for.
    """
    header = np.concatenate([[len(sentence_lengths)], sentence_lengths]).astype(np.uint32)
    return digest + header.tobytes() + ids.tobytes() + copies.to_bytes(COPIES_BYTES, "little")


def combine_copies(packed: Iterable[bytes]) -> list[bytes]:
    """Packed documents, each once, with all its copies, in order: by digest, then by content."""
    combined: list[bytes] = []
    for document in sorted(packed):
        if combined and document[:-COPIES_BYTES] == combined[-1][:-COPIES_BYTES]:
            document = with_copies(document, copies_of(document) + copies_of(combined.pop()))
        combined.append(document)
    return combined


def copies_of(packed: bytes) -> int:
    """How many equal documents a packed one stands for."""
    return int.from_bytes(packed[-COPIES_BYTES:], "little")


def with_copies(packed: bytes, copies: int) -> bytes:
    """A packed document that stands for so many."""
    return packed[:-COPIES_BYTES] + copies.to_bytes(COPIES_BYTES, "little")
