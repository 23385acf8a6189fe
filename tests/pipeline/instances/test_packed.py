"""Packed pools hold what was put in, leave out what the configuration says, and files of them give them back."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.filters import filter_document
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pool_file import read_pool, write_pool
from maskmill.pipeline.instances.pools import COPIES_BYTES, Pool, combine_copies, pack_document
from maskmill.pipeline.reading.documents import DIGEST_BYTES
from maskmill.tokenizer.errors import InputError

UNK_ID = 1
DTYPE = np.dtype(np.uint16)
CONFIGS = [
    InstanceConfig(),
    InstanceConfig(dedup=True),
    InstanceConfig(dedup=True, min_sentence_tokens=3, min_document_tokens=5),
    InstanceConfig(max_seq_length=8, max_predictions_per_seq=1, max_document_tokens=6, exclude_unk_above=0.2),
]


def draw_documents(seed: int) -> list[bytes]:
    """Packed documents, some of them without a token, equal, or of one digest and other sentences."""
    rng = np.random.default_rng(seed)
    documents = []
    for _ in range(rng.integers(0, 12)):
        lengths = rng.integers(1, 7, rng.integers(0, 5))
        ids = rng.integers(0, 20, lengths.sum()).astype(DTYPE)
        documents.append(pack_document(rng.bytes(16), ids, lengths))
    for document in documents[:3]:
        documents += [document, document[:16] + pack_document(b"", np.array([7, 8], DTYPE), np.array([2]))]
    return [documents[i] for i in rng.permutation(len(documents))]


def unpack_one_by_one(
    packed: list[bytes], dtype: np.dtype[np.unsignedinteger], config: InstanceConfig, unk_id: int
) -> Pool:
    """The readable rule: one document after the other."""
    ids: list[NDArray[np.unsignedinteger]] = []
    lengths: list[NDArray[np.uint32]] = []
    digests: list[bytes] = []
    gathered = empty = duplicates = 0
    filtered = Counter[str]()
    last = b""
    for document in sorted(packed):  # by digest, which comes first
        gathered += 1
        (sentences,) = np.frombuffer(document, np.uint32, 1, DIGEST_BYTES)
        if not sentences:
            empty += 1
            continue
        is_duplicate, last = document == last, document
        duplicates += is_duplicate
        if is_duplicate and config.dedup:
            continue
        its_lengths = np.frombuffer(document, np.uint32, sentences, DIGEST_BYTES + 4)
        its_ids = np.frombuffer(document[:-COPIES_BYTES], dtype, offset=DIGEST_BYTES + 4 + 4 * int(sentences))
        for piece_ids, piece_lengths in filter_document(its_ids, its_lengths, config, unk_id, filtered):
            ids.append(piece_ids)
            lengths.append(piece_lengths)
            digests.append(document[:DIGEST_BYTES])
    return Pool(
        ids=np.concatenate([*ids, np.empty(0, dtype)]),
        sentence_offsets=_offsets(np.concatenate([*lengths, np.empty(0, np.uint32)])),
        document_offsets=_offsets(np.array([len(document) for document in lengths], np.int64)),
        digests=digests,
        gathered=gathered,
        empty=empty,
        duplicates=duplicates,
        filtered=filtered,
    )


def _offsets(lengths: NDArray[np.integer]) -> NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


@given(st.integers(0, 2**32), st.sampled_from(CONFIGS), st.booleans(), st.booleans())
def test_a_packed_pool_unpacks_to_the_pool_of_its_documents(seed, config, came_combined, combined):
    documents = draw_documents(seed)
    expected = unpack_one_by_one(documents, DTYPE, config, UNK_ID)
    packed = PackedPool.gather(combine_copies(documents) if came_combined else documents, DTYPE, combined)
    found = packed.unpack(config, UNK_ID)
    for name in ("ids", "sentence_offsets", "document_offsets"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    for name in ("digests", "gathered", "empty", "duplicates", "filtered"):
        assert getattr(found, name) == getattr(expected, name)
    assert list(packed.documents()) == (combine_copies(documents) if combined else sorted(documents))


@pytest.mark.parametrize("longest", [5, 70_000])
def test_a_file_gives_its_pool_back(tmp_path, longest):
    documents = [*draw_documents(1), pack_document(bytes(16), np.ones(longest, DTYPE), np.array([longest]))]
    pool = PackedPool.gather(documents, DTYPE)
    written = write_pool(tmp_path / "pool", pool, examples=9)
    assert written.records == 9
    assert written.sha256 == hashlib.sha256((tmp_path / "pool").read_bytes()).hexdigest()
    found = read_pool(tmp_path / "pool", written.sha256)
    assert list(found.documents()) == sorted(documents)
    written_once = write_pool(tmp_path / "once", PackedPool.gather(documents, DTYPE, combined=True), examples=9)
    assert list(read_pool(tmp_path / "once", written_once.sha256).documents()) == combine_copies(documents)
    again = write_pool(tmp_path / "again", PackedPool.gather(documents[::-1], DTYPE), examples=9)
    assert again == written


def test_a_changed_byte_is_noticed(tmp_path):
    written = write_pool(tmp_path / "pool", PackedPool.gather(draw_documents(2), DTYPE), examples=9)
    data = bytearray((tmp_path / "pool").read_bytes())
    data[-1] ^= 1
    (tmp_path / "pool").write_bytes(data)
    with pytest.raises(InputError, match=r"pool is not the file that the manifest names \(its SHA-256 differs\); rest"):
        read_pool(tmp_path / "pool", written.sha256)


def test_what_does_not_fit_together_is_named(tmp_path):
    pool = PackedPool.gather(draw_documents(2), DTYPE)
    broken = PackedPool(pool.ids[1:], pool.sentence_lengths, pool.document_lengths, pool.digests)
    written = write_pool(tmp_path / "pool", broken, examples=9)
    with pytest.raises(InputError, match="is damaged: the lengths of its sentences do not add up to its tokens"):
        read_pool(tmp_path / "pool", written.sha256)
