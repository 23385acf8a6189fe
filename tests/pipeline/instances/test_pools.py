"""Documents are packed, gathered in pools by content, and unpacked as they were."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pools import Pools, count_pools, pack_document
from maskmill.pipeline.reading.documents import digest_of

sentences = st.lists(st.integers(0, 65_535), min_size=1, max_size=9)
documents = st.lists(st.lists(sentences, min_size=1, max_size=5), max_size=8)


def pack(document, dtype=np.uint16):
    digest = digest_of(repr(document).encode())
    ids = np.array([id for sentence in document for id in sentence], dtype)
    return pack_document(digest, ids, np.array([len(sentence) for sentence in document]))


@given(documents=documents, dtype=st.sampled_from([np.uint16, np.uint32]), order=st.randoms())
def test_a_pool_holds_its_documents_in_the_order_of_their_digests(documents, dtype, order):
    packed = [pack(document, dtype) for document in documents]
    order.shuffle(packed)
    pool = PackedPool.gather(packed, np.dtype(dtype)).unpack(InstanceConfig(), unk_id=1)
    offsets, found = pool.sentence_offsets, []
    for first, last in zip(pool.document_offsets, pool.document_offsets[1:]):
        found.append([pool.ids[offsets[s] : offsets[s + 1]].tolist() for s in range(first, last)])
    assert found == sorted(documents, key=lambda document: pack(document, dtype))
    assert pool.digests == sorted(pool.digests)
    assert pool.ids.dtype == dtype


def test_the_pool_of_a_document_depends_on_its_content_and_the_seed_alone():
    config, pools = InstanceConfig(), Pools(train=7, eval=0)
    digests = [digest_of(f"sentence {number}".encode()) for number in range(7000)]
    chosen = [pools.pool_of(digest, config) for digest in digests]
    assert chosen == [pools.pool_of(digest, config) for digest in digests]
    assert chosen != [pools.pool_of(digest, InstanceConfig(random_seed=1)) for digest in digests]
    assert np.bincount(chosen, minlength=7).min() > 850
    assert np.bincount(chosen, minlength=7).max() < 1150


def test_a_share_of_the_documents_is_held_out_whatever_the_number_of_pools():
    config = InstanceConfig(eval_fraction=0.1)
    digests = [digest_of(f"sentence {number}".encode()) for number in range(5000)]
    aside = [{d for d in digests if Pools(n, 1).pool_of(d, config) >= n} for n in (1, 40)]
    assert aside[0] == aside[1]
    assert 430 < len(aside[0]) < 570


def test_pools_are_planned_by_the_size_of_the_corpus():
    assert Pools.plan(InstanceConfig(), 100, 1_000) == Pools(1, 0)
    assert Pools.plan(InstanceConfig(eval_fraction=0.01), 100, 1_000) == Pools(1, 1)
    assert Pools.plan(InstanceConfig(shards_per_copy=200, eval_fraction=0.05), 100, 1_000) == Pools(200, 10)
    assert count_pools(10**8, 10**11) == 10**11 // 64_000_000
    assert Pools(3, 2).split_of(2) == ("train", 2)
    assert Pools(3, 2).split_of(4) == ("eval", 1)
