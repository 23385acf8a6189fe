"""Pairs of segments hold the rules of google-research/bert, and our repairs; those of ALBERT and RoBERTa too."""

import random

import google_reference
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pairs import pair_documents, truncate_pairs
from maskmill.pipeline.instances.pools import Pool, pack_document
from maskmill.tokenizer.errors import InputError

objectives = st.sampled_from(["nsp", "sop", "mlm"])
seeds = st.integers(0, 2**32)
max_seq_lengths = st.sampled_from([8, 32, 128])
short_seq_probs = st.sampled_from([0.0, 0.1, 1.0])
lengths = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=9)


def make_pool(document_lengths: list[list[int]], duplicates: int = 0) -> Pool:
    """Documents with sentences of these lengths; the first `duplicates + 1` of them are the same."""
    packed, token = [], 0
    for number, sentences in enumerate(document_lengths):
        digest = max(0, number - duplicates).to_bytes(16, "big")
        ids = np.arange(token, token + sum(sentences)) % 65_536
        packed.append(pack_document(digest, ids.astype(np.uint16), np.array(sentences)))
        token += sum(sentences)
    return PackedPool.gather(packed, np.dtype(np.uint16)).unpack(InstanceConfig(), unk_id=1)


def make_config(objective: str, max_seq_length: int = 128, short_seq_prob: float = 0.0) -> InstanceConfig:
    return InstanceConfig(
        objective=objective, max_seq_length=max_seq_length, max_predictions_per_seq=1, short_seq_prob=short_seq_prob
    )


def document_of(pool: Pool, token: int) -> int:
    sentence = np.searchsorted(pool.sentence_offsets, token, side="right") - 1
    return int(np.searchsorted(pool.document_offsets, sentence, side="right") - 1)


def targets_of(config: InstanceConfig) -> range:
    """The target lengths that a document may draw."""
    return range(2 if config.short_seq_prob else config.max_num_tokens, config.max_num_tokens + 1)


def count_uses(pool: Pool, pairs: np.ndarray) -> np.ndarray:
    """How often A or B holds each token of the pool."""
    uses = np.zeros(len(pool.ids), int)
    for a_start, a_end, b_start, b_end, _ in pairs.tolist():
        uses[a_start:a_end] += 1
        uses[b_start:b_end] += 1
    return uses


def by_document(pool: Pool, bounds: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Spans of the pool's tokens, each within a document, as those of every document, counted from its start."""
    found: list[list[tuple[int, ...]]] = [[] for _ in range(pool.documents)]
    for span in bounds:
        document = document_of(pool, span[0])
        assert document == document_of(pool, span[-1] - 1)
        start = pool.sentence_offsets[pool.document_offsets[document]]
        found[document].append(tuple(int(place - start) for place in span))
    return found


@given(lengths, seeds, st.integers(0, 3), max_seq_lengths, short_seq_probs)
def test_pairs_are_whole_sentences_and_every_sentence_is_used(
    lengths, seed, duplicates, max_seq_length, short_seq_prob
):
    duplicates = min(duplicates, len(lengths) - 1)
    lengths[: duplicates + 1] = [lengths[0]] * (duplicates + 1)
    pool = make_pool(lengths, duplicates)
    config = make_config("nsp", max_seq_length, short_seq_prob)
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


@given(lengths, seeds, objectives, max_seq_lengths, short_seq_probs)
def test_truncated_pairs_fit_and_keep_their_label(lengths, seed, objective, max_seq_length, short_seq_prob):
    config = make_config(objective, max_seq_length, short_seq_prob)
    rng = np.random.default_rng(seed)
    pairs, _ = pair_documents(make_pool(lengths), config, rng)
    truncated = truncate_pairs(pairs, config.max_num_tokens, rng)
    length_a, length_b = (truncated[:, end] - truncated[:, end - 1] for end in (1, 3))
    specials = 2 if objective == "mlm" else 3
    assert (length_a > 0).all()
    assert (length_b == 0).all() if objective == "mlm" else (length_b > 0).all()
    assert (length_a + length_b + specials <= max_seq_length).all()
    assert (truncated[:, 4] == pairs[:, 4]).all()
    if objective == "mlm":
        assert (truncated == pairs).all()


def test_truncation_drops_from_both_ends_with_equal_chance():
    pairs = np.tile(np.array([[0, 50, 100, 120, 0]], np.int32), (4000, 1))
    dropped = truncate_pairs(pairs, 40, np.random.default_rng(0))[:, 0]
    assert dropped.mean() == pytest.approx(15, abs=0.2)
    assert dropped.var() == pytest.approx(30 / 4, rel=0.1)


def test_next_sentence_pairs_are_drawn_as_they_always_were():
    """A change here changes every dataset made with the same seed."""
    config = make_config("nsp", max_seq_length=19, short_seq_prob=0.5)
    pairs, skipped = pair_documents(make_pool([[5, 9, 4, 12], [8, 3, 7], [20]]), config, np.random.default_rng(7))
    assert pairs.tolist() == [
        [0, 14, 14, 18, 0],
        [18, 30, 30, 38, 1],
        [30, 38, 38, 48, 0],
        [48, 68, 5, 14, 1],
    ]
    assert skipped == 0


@given(lengths, seeds, max_seq_lengths, short_seq_probs)
def test_ordered_pairs_are_the_two_parts_of_a_chunk(lengths, seed, max_seq_length, short_seq_prob):
    pool = make_pool(lengths)
    config = make_config("sop", max_seq_length, short_seq_prob)
    pairs, skipped = pair_documents(pool, config, np.random.default_rng(seed))

    chunks = []
    for a_start, a_end, b_start, b_end, is_swapped in pairs.tolist():
        (start, split), (follows, end) = sorted([(a_start, a_end), (b_start, b_end)])
        assert start < split == follows < end
        assert is_swapped == (a_start > b_start)
        inner = pool.sentence_offsets[(pool.sentence_offsets > start) & (pool.sentence_offsets < end)]
        assert split in inner or len(inner) == 0
        chunks.append((start, end))
    uses = count_uses(pool, pairs)
    assert uses.max(initial=1) == 1
    assert (uses == 0).sum() == skipped

    def gather(sentences, target):
        """The chunks of a document, those of a single token left out."""
        bounds, start = [], 0
        for end in np.cumsum(sentences).tolist():
            if end - start >= target or end == sum(sentences):
                bounds.append((start, end))
                start = end
        return [(start, end) for start, end in bounds if end - start > 1]

    for sentences, found in zip(lengths, by_document(pool, chunks), strict=True):
        assert any(found == gather(sentences, target) for target in targets_of(config))


def test_half_of_the_ordered_pairs_are_swapped_wherever_they_split():
    config = make_config("sop", max_seq_length=28)
    pairs, skipped = pair_documents(make_pool([[5] * 5 * 8000]), config, np.random.default_rng(0))
    assert skipped == 0
    assert len(pairs) == 8000
    assert pairs[:, 4].mean() == pytest.approx(0.5, abs=0.02)
    length_of_second = pairs[:, :4].max(axis=1) - np.maximum(pairs[:, 0], pairs[:, 2])
    for sentences in (1, 2, 3, 4):
        is_here = length_of_second == 5 * sentences
        assert is_here.mean() == pytest.approx(1 / 4, abs=0.02)
        assert pairs[is_here, 4].mean() == pytest.approx(0.5, abs=0.05)


def test_a_lone_sentence_is_split_between_any_two_of_its_tokens_with_equal_chance():
    config = make_config("sop")
    pairs, skipped = pair_documents(make_pool([[5]] * 8000), config, np.random.default_rng(0))
    assert skipped == 0
    first = np.where(pairs[:, 4], pairs[:, 3] - pairs[:, 2], pairs[:, 1] - pairs[:, 0])
    assert np.bincount(first)[1:] / 8000 == pytest.approx([1 / 4] * 4, abs=0.02)


def test_a_lone_token_has_no_order_and_is_skipped_and_counted():
    pairs, skipped = pair_documents(make_pool([[1]]), make_config("sop"), np.random.default_rng(0))
    assert len(pairs) == 0
    assert skipped == 1


@given(lengths, seeds, max_seq_lengths, short_seq_probs)
def test_packed_instances_are_as_many_whole_sentences_as_fit(lengths, seed, max_seq_length, short_seq_prob):
    pool = make_pool(lengths)
    config = make_config("mlm", max_seq_length, short_seq_prob)
    pairs, skipped = pair_documents(pool, config, np.random.default_rng(seed))
    assert skipped == 0
    assert not pairs[:, 4].any()
    assert (pairs[:, 2] == pairs[:, 3]).all()
    assert (count_uses(pool, pairs) == 1).all()

    def pack(sentences, target):
        """The oracle: sentence after sentence, a long one piece after piece."""
        instances = [0]
        for sentence in sentences:
            if instances[-1] and instances[-1] + sentence > target:
                instances.append(0)
            while sentence > config.max_num_tokens:
                instances[-1] = config.max_num_tokens
                instances.append(0)
                sentence -= config.max_num_tokens
            instances[-1] += sentence
        ends = np.cumsum(instances).tolist()
        return list(zip([0, *ends], ends))

    spans = [(a_start, a_end) for a_start, a_end, *_ in pairs.tolist()]
    for sentences, found in zip(lengths, by_document(pool, spans), strict=True):
        assert any(found == pack(sentences, target) for target in targets_of(config))


def test_a_long_sentence_fills_instances_and_the_next_sentence_joins_its_rest():
    config = make_config("mlm", max_seq_length=12)
    pairs, _ = pair_documents(make_pool([[4, 23, 5, 3, 10]]), config, np.random.default_rng(0))
    assert pairs[:, :2].tolist() == [[0, 4], [4, 14], [14, 24], [24, 32], [32, 35], [35, 45]]


@given(objectives, seeds, st.integers(1, 60))
def test_short_sequences_are_drawn_once_for_a_document(objective, seed, sentences):
    """With sentences of one token a chunk is as long as its target, so all of a document's but the last are equal."""
    config = make_config(objective, max_seq_length=64, short_seq_prob=1)
    pairs, _ = pair_documents(make_pool([[1] * sentences]), config, np.random.default_rng(seed))
    lengths = pairs[:, 1] - pairs[:, 0] + pairs[:, 3] - pairs[:, 2]
    assert len(set(lengths[:-1].tolist())) <= 1


def test_an_unknown_objective_is_refused():
    with pytest.raises(InputError, match="objective is clm; expected nsp"):
        InstanceConfig(objective="clm")
