"""Packed pools: tokenised documents before anything of them is dropped, as a dataset of tokens keeps them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.filters import filter_document
from maskmill.pipeline.instances.pools import (
    COPIES_BYTES,
    MAX_TOKENS_PER_POOL,
    Pool,
    combine_copies,
    copies_of,
    pack_document,
)
from maskmill.pipeline.reading.documents import DIGEST_BYTES
from maskmill.pipeline.storage.storage import AnyPath
from maskmill.tokenizer.errors import InputError


@dataclass(frozen=True)
class PackedPool:
    """The documents of a pool, ordered by digest, then by content: their ids one after the other, and where they end.

    Two pools of the same documents are equal, whatever the order in which these came.
    """

    ids: NDArray[np.unsignedinteger]  # [tokens]
    sentence_lengths: NDArray[np.uint32]  # [sentences], in tokens, each 1 or more
    document_lengths: NDArray[np.uint32]  # [documents], in sentences; 0 where a document has no token
    digests: NDArray[np.uint8]  # [documents, DIGEST_BYTES], of their content
    copies: NDArray[np.uint32] | None = None  # [documents], equal ones that each stands for; None: itself

    def __len__(self) -> int:
        return len(self.document_lengths)

    @classmethod
    def gather(
        cls, packed: Iterable[bytes], dtype: np.dtype[np.unsignedinteger], combined: bool = False
    ) -> "PackedPool":
        """Documents as `pack_document` makes them, in any order.

        Args:
            packed: the documents.
            dtype: of their ids.
            combined: whether equal documents are held once, with the number of them.

        Raises InputError when they have more tokens than an int32 counts.
        """
        documents = combine_copies(packed)
        copies = [copies_of(document) for document in documents]
        if combined and any(number > 1 for number in copies):
            return replace(cls._join(documents, dtype), copies=np.array(copies, np.uint32))
        return cls._join([one for one, number in zip(documents, copies) for _ in range(number)], dtype)

    @classmethod
    def _join(cls, documents: Sequence[bytes], dtype: np.dtype[np.unsignedinteger]) -> "PackedPool":
        lengths = np.fromiter(
            (int.from_bytes(one[DIGEST_BYTES : DIGEST_BYTES + 4], "little") for one in documents),
            np.uint32,
            len(documents),
        )
        start = DIGEST_BYTES + 4
        ends = (start + 4 * lengths.astype(np.int64)).tolist()
        ids = np.frombuffer(b"".join(one[end:-COPIES_BYTES] for one, end in zip(documents, ends)), dtype)
        if len(ids) > MAX_TOKENS_PER_POOL:
            raise InputError(
                "a shard's pool of documents has more than 2^31 tokens", way_out="give a larger --shards-per-copy"
            )
        sentences = np.frombuffer(b"".join(one[start:end] for one, end in zip(documents, ends)), np.uint32)
        digests = np.frombuffer(b"".join(one[:DIGEST_BYTES] for one in documents), np.uint8)
        return cls(ids, sentences, lengths, digests.reshape(-1, DIGEST_BYTES))

    def require_ids_below(self, vocab_size: int, path: AnyPath) -> None:
        """Raises InputError, which names `path`, when an id is none of a vocabulary of that size."""
        if len(self.ids) and (largest := int(self.ids.max())) >= vocab_size:
            raise InputError(
                f"has the id {largest:,}, and the vocabulary has {vocab_size:,} tokens",
                way_out="restore it, or generate the dataset again with --overwrite",
                path=path,
            )

    def documents(self) -> Iterable[bytes]:
        """The documents as `pack_document` made them, in their order."""
        sentence_ends = _ends(self.sentence_lengths)
        document_ends = _ends(self.document_lengths)
        copies = np.ones(len(self), np.uint32) if self.copies is None else self.copies
        for digest, first, last, number in zip(self.digests, document_ends, document_ends[1:], copies.tolist()):
            ids = self.ids[sentence_ends[first] : sentence_ends[last]]
            yield pack_document(digest.tobytes(), ids, self.sentence_lengths[first:last], number)

    def unpack(self, config: InstanceConfig, unk_id: int) -> Pool:
        """The pool without what the configuration leaves out, with counts of that; see `filter_document`."""
        if self.copies is not None and not config.dedup:
            return self._repeat().unpack(config, unk_id)
        is_empty = self.document_lengths == 0
        is_duplicate = self._find_duplicates()
        kept = ~is_empty & ~(is_duplicate & config.dedup)
        pool = self if kept.all() else self._take(kept)
        copies = np.ones(len(self), np.uint32) if self.copies is None else self.copies
        counts = Counter[str]()
        if config.has_filters:
            pool = pool._filter(config, unk_id, counts)
        return Pool(
            ids=pool.ids,
            sentence_offsets=_ends(pool.sentence_lengths),
            document_offsets=_ends(pool.document_lengths),
            digests=[digest.tobytes() for digest in pool.digests],
            gathered=int(copies.sum(dtype=np.int64)),
            empty=int(copies[is_empty].sum(dtype=np.int64)),
            duplicates=int(is_duplicate.sum() + (copies[~is_empty] - 1).sum(dtype=np.int64)),
            filtered=counts,
        )

    def _find_duplicates(self) -> NDArray[np.bool_]:
        """Which documents equal the one before them in every sentence; documents without a token do not."""
        found = np.zeros(len(self), bool)
        found[1:] = (self.digests[1:] == self.digests[:-1]).all(axis=1) & (self.document_lengths[1:] > 0)
        sentence_ends, document_ends = _ends(self.sentence_lengths), _ends(self.document_lengths)
        for place in np.flatnonzero(found).tolist():
            before, first, last = document_ends[place - 1 : place + 2]
            found[place] = np.array_equal(self.sentence_lengths[before:first], self.sentence_lengths[first:last])
            found[place] &= np.array_equal(
                self.ids[sentence_ends[before] : sentence_ends[first]],
                self.ids[sentence_ends[first] : sentence_ends[last]],
            )
        return found

    def _repeat(self) -> "PackedPool":
        """The same documents, each as often as it stands for."""
        return PackedPool.gather(self.documents(), self.ids.dtype)

    def _take(self, kept: NDArray[np.bool_]) -> "PackedPool":
        sentences = np.repeat(kept, self.document_lengths)
        return PackedPool(
            ids=self.ids[np.repeat(sentences, self.sentence_lengths)],
            sentence_lengths=self.sentence_lengths[sentences],
            document_lengths=self.document_lengths[kept],
            digests=self.digests[kept],
        )

    def _filter(self, config: InstanceConfig, unk_id: int, counts: Counter[str]) -> "PackedPool":
        """What `filter_document` keeps of each document; the pieces of one that is cut have its digest."""
        sentence_ends, document_ends = _ends(self.sentence_lengths), _ends(self.document_lengths)
        ids, lengths, digests = [], [], []
        for digest, first, last in zip(self.digests, document_ends, document_ends[1:]):
            of_document = self.ids[sentence_ends[first] : sentence_ends[last]]
            for piece in filter_document(of_document, self.sentence_lengths[first:last], config, unk_id, counts):
                ids.append(piece[0])
                lengths.append(piece[1])
                digests.append(digest)
        return PackedPool(
            ids=np.concatenate([*ids, self.ids[:0]]),
            sentence_lengths=np.concatenate([*lengths, self.sentence_lengths[:0]]).astype(np.uint32),
            document_lengths=np.array([len(one) for one in lengths], np.uint32),
            digests=np.array(digests, np.uint8).reshape(-1, DIGEST_BYTES),
        )


def _ends(lengths: NDArray[np.unsignedinteger]) -> NDArray[np.int64]:
    """Where each begins and the last ends: [n + 1]."""
    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    return ends
