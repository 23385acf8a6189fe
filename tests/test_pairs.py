"""Pairs of segments hold the rules of google-research/bert, and our repairs."""

import random

import google_reference
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import InstanceConfig
from pipeline.pairs import pair_documents, truncate_pairs
from pipeline.pools import Pool, pack_document, unpack_pool

lengths = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=9)


def make_pool(document_lengths: list[list[int]], duplicates: int = 0) -> Pool:
    """Documents with sentences of these lengths; the first `duplicates + 1` of them are the same."""
    packed, token = [], 0
    for number, sentences in enumerate(document_lengths):
        digest = max(0, number - duplicates).to_bytes(16, "big")
        ids = np.arange(token, token + sum(sentences)) % 65_536
        packed.append(pack_document(digest, ids.astype(np.uint16), np.array(sentences)))
        token += sum(sentences)
    return unpack_pool(packed, np.dtype(np.uint16))


def document_of(pool: Pool, token: int) -> int:
    sentence = np.searchsorted(pool.sentence_offsets, token, side="right") - 1
    return int(np.searchsorted(pool.document_offsets, sentence, side="right") - 1)


@given(
    lengths, st.integers(0, 2**32), st.integers(0, 3), st.sampled_from([8, 32, 128]), st.sampled_from([0.0, 0.1, 1.0])
)
def test_pairs_are_whole_sentences_and_every_sentence_is_used(
    lengths, seed, duplicates, max_seq_length, short_seq_prob
):
    duplicates = min(duplicates, len(lengths) - 1)
    lengths[: duplicates + 1] = [lengths[0]] * (duplicates + 1)
    pool = make_pool(lengths, duplicates)
    config = InstanceConfig(max_seq_length=max_seq_length, max_predictions_per_seq=1, short_seq_prob=short_seq_prob)
    pairs, skipped = pair_documents(pool, config, np.random.default_rng(seed))

    assert np.isin(pairs[:, :4], pool.sentence_offsets).all()
    used = np.zeros(len(pool.ids), int)
    for a_start, a_end, b_start, b_end, is_random_next in pairs.tolist():
        assert a_start < a_end
        assert b_start < b_end
        here, there = document_of(pool, a_start), document_of(pool, b_start)
        assert here == document_of(pool, a_end - 1)
        assert there == document_of(pool, b_end - 1)
        used[a_start:a_end] += 1
        if is_random_next:
            assert pool.digests[here] != pool.digests[there]
        else:
            assert here == there
            assert a_end == b_start
            used[b_start:b_end] += 1
    # Each sentence serves once as A or as an actual next, but for those of skipped chunks.
    assert used.max(initial=1) == 1
    assert (used == 0).any() == (skipped > 0)


def test_documents_that_are_all_the_same_give_no_random_next():
    pool = make_pool([[5, 5, 5, 5]] * 3, duplicates=2)
    config = InstanceConfig(max_seq_length=16, max_predictions_per_seq=2)
    pairs, _ = pair_documents(pool, config, np.random.default_rng(0))
    assert len(pairs)
    assert not pairs[:, 4].any()


def test_a_lone_sentence_without_another_document_is_skipped_and_counted():
    pairs, skipped = pair_documents(make_pool([[7]]), InstanceConfig(), np.random.default_rng(0))
    assert len(pairs) == 0
    assert skipped == 1


def test_pairs_are_distributed_as_the_oracles():
    """Number of pairs, share of random nexts, and lengths of A and B, within the spread of 30 seeds."""
    chosen = random.Random(1)
    lengths = [[chosen.randint(3, 40) for _ in range(chosen.randint(1, 60))] for _ in range(200)]
    config = InstanceConfig()
    pool = make_pool(lengths)
    oracle_documents = [[["x"] * length for length in sentences] for sentences in lengths]

    def oracle(seed):
        rng = random.Random(seed)
        pairs = [
            (len(a), len(b), is_random)
            for index in range(len(oracle_documents))
            for a, b, is_random in google_reference.pair_document(oracle_documents, index, config, rng)
        ]
        return np.array([len(pairs), *np.mean(pairs, axis=0)])

    def ours(seed):
        pairs, _ = pair_documents(pool, config, np.random.default_rng(seed))
        return np.array([len(pairs), *np.diff(pairs[:, :4])[:, ::2].mean(axis=0), pairs[:, 4].mean()])

    theirs, mine = (np.array([draw(seed) for seed in range(30)]) for draw in (oracle, ours))
    spread = np.sqrt((theirs.var(axis=0, ddof=1) + mine.var(axis=0, ddof=1)) / 30)
    assert (np.abs(theirs.mean(axis=0) - mine.mean(axis=0)) < 4 * spread).all()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(5, 60), st.integers(0, 2**32))
def test_truncation_keeps_as_many_tokens_as_dropping_them_one_by_one(length_a, length_b, max_num_tokens, seed):
    tokens_a, tokens_b = ["a"] * length_a, ["b"] * length_b
    google_reference.truncate_pair(tokens_a, tokens_b, max_num_tokens, random.Random(seed))
    pairs = np.array([[100, 100 + length_a, 300, 300 + length_b, 1]], np.int32)
    ((a_start, a_end, b_start, b_end, _),) = truncate_pairs(pairs, max_num_tokens, np.random.default_rng(seed))
    assert (a_end - a_start, b_end - b_start) == (len(tokens_a), len(tokens_b))
    assert 100 <= a_start <= a_end <= 100 + length_a
    assert 300 <= b_start <= b_end <= 300 + length_b


def test_truncation_drops_from_both_ends_with_equal_chance():
    pairs = np.tile(np.array([[0, 50, 100, 120, 0]], np.int32), (4000, 1))
    dropped = truncate_pairs(pairs, 40, np.random.default_rng(0))[:, 0]
    assert dropped.mean() == pytest.approx(15, abs=0.2)
    assert dropped.var() == pytest.approx(30 / 4, rel=0.1)
