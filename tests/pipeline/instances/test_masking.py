"""Masking holds the rules of google-research/bert, and our repairs, on random instances."""

import random

import google_reference
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.masking import (
    Masker,
    choose_tokens,
    choose_words,
    count_predictions,
    find_candidates,
    find_word_starts,
)
from maskmill.pipeline.instances.segments import Segments, assemble

MAX_SEQ_LENGTH = 32


def make_segments(vocab, seed: int, instances: int = 50) -> Segments:
    """Random pairs of random ordinary tokens."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(vocab.ordinary_ids, 500).astype(np.uint16)
    length_a = rng.integers(1, MAX_SEQ_LENGTH - 4, instances)
    length_b = rng.integers(1, MAX_SEQ_LENGTH - 2 - length_a)
    starts = rng.integers(0, 400, (instances, 2))
    pairs = np.stack([starts[:, 0], starts[:, 0] + length_a, starts[:, 1], starts[:, 1] + length_b, length_a % 2], 1)
    return assemble(ids, pairs.astype(np.int32), MAX_SEQ_LENGTH, vocab)


def make_config(**values) -> InstanceConfig:
    return InstanceConfig(**{"max_seq_length": MAX_SEQ_LENGTH, "max_predictions_per_seq": 6, **values})


@given(st.integers(0, 2**32), st.sampled_from([0.15, 0.5]), st.integers(1, 9), st.booleans())
def test_masked_instances_hold_the_rules(small_vocab, seed, masked_lm_prob, max_predictions_per_seq, whole_word_mask):
    segments = make_segments(small_vocab, seed)
    config = make_config(
        masked_lm_prob=masked_lm_prob,
        max_predictions_per_seq=max_predictions_per_seq,
        whole_word_mask=whole_word_mask,
    )
    input_ids, predictions = Masker(small_vocab, config).mask(segments, np.random.default_rng(seed))

    special = {small_vocab.ids[token] for token in ("[PAD]", "[CLS]", "[SEP]")}
    for row in range(len(input_ids)):
        length = int(segments.lengths[row])
        count = int(predictions.masked_lm_weights[row].sum())
        positions = predictions.masked_lm_positions[row, :count]
        wanted = min(max_predictions_per_seq, max(1, round(length * masked_lm_prob)), length - 3)
        assert count <= wanted if whole_word_mask else count == wanted
        assert (np.diff(positions) > 0).all()
        assert predictions.masked_lm_weights[row].tolist() == [1.0] * count + [0.0] * (max_predictions_per_seq - count)
        assert not predictions.masked_lm_positions[row, count:].any()
        assert not predictions.masked_lm_ids[row, count:].any()

        original = segments.input_ids[row]
        assert not special & set(original[positions].tolist())
        restored = input_ids[row].copy()
        restored[positions] = predictions.masked_lm_ids[row, :count]
        assert (restored == original).all()
        assert set(input_ids[row, positions].tolist()) <= {small_vocab.ids["[MASK]"], *small_vocab.ordinary_ids}


@given(st.integers(0, 2**32))
def test_as_many_whole_words_are_chosen_as_fit(small_vocab, seed):
    """A word is passed over only if it was too long for what was left, so none that is left fits in the end."""
    segments = make_segments(small_vocab, seed)
    candidates = find_candidates(segments)
    starts = find_word_starts(segments.input_ids, candidates, np.array(small_vocab.is_continuation))
    chosen = choose_words(candidates, starts, np.full(len(candidates), 6), np.random.default_rng(seed))
    for row in range(len(candidates)):
        word_of = np.cumsum(starts[row])[candidates[row]] - 1
        sizes = np.bincount(word_of)
        taken = np.bincount(word_of[chosen[row][candidates[row]]], minlength=len(sizes))
        assert ((taken == 0) | (taken == sizes)).all()
        left = 6 - taken.sum()
        assert left >= 0
        assert not (sizes[taken == 0] <= left).any()


def test_whole_word_masking_predicts_as_much_as_the_oracle(small_vocab):
    segments = make_segments(small_vocab, seed=1, instances=2000)
    config = make_config(whole_word_mask=True)
    _, predictions = Masker(small_vocab, config).mask(segments, np.random.default_rng(0))
    rng = random.Random(0)
    oracle = [
        len(google_reference.mask_tokens([small_vocab.tokens[id] for id in ids[:length]], ["x"], config, rng)[0])
        for ids, length in zip(segments.input_ids, segments.lengths)
    ]
    assert predictions.masked_lm_weights.sum() / len(oracle) == pytest.approx(np.mean(oracle), rel=0.02)


@given(st.integers(0, 2**32))
def test_whole_words_are_masked_whole_and_within_a_segment(small_vocab, seed):
    segments = make_segments(small_vocab, seed)
    masker = Masker(small_vocab, make_config(whole_word_mask=True, masked_lm_prob=0.4, max_predictions_per_seq=9))
    _, predictions = masker.mask(segments, np.random.default_rng(seed))
    for row in range(len(segments.input_ids)):
        weights = predictions.masked_lm_weights[row] > 0
        masked = set(predictions.masked_lm_positions[row, weights].tolist())
        tokens = [small_vocab.tokens[id] for id in segments.input_ids[row]]
        for position in range(1, int(segments.lengths[row]) - 1):
            joined = tokens[position].startswith("##") and tokens[position - 1] not in ("[CLS]", "[SEP]")
            if joined:
                assert (position in masked) == (position - 1 in masked)


def test_a_hashed_piece_that_opens_b_is_a_word_of_its_own(small_vocab):
    id = small_vocab.ids
    ids = np.array([id["cat"], id["##s"], id["##s"], id["cat"]], np.uint16)
    segments = assemble(ids, np.array([[0, 2, 2, 4, 0]], np.int32), 8, small_vocab)  # [CLS] cat ##s [SEP] ##s cat [SEP]
    masker = Masker(small_vocab, InstanceConfig(max_seq_length=8, max_predictions_per_seq=2))
    starts = find_word_starts(segments.input_ids, find_candidates(segments), masker.is_continuation)
    assert np.flatnonzero(starts).tolist() == [1, 4, 5]


def test_number_of_predictions_rounds_half_to_even_as_python_does():
    config = InstanceConfig(max_predictions_per_seq=125)
    for masked_lm_prob in (0.15, 0.5, 0.25):
        config = InstanceConfig(masked_lm_prob=masked_lm_prob, max_predictions_per_seq=60)
        lengths = np.arange(1, 129)
        expected = [min(60, max(1, round(length * masked_lm_prob))) for length in lengths.tolist()]
        assert count_predictions(lengths, config).tolist() == expected


def test_every_token_is_as_likely_and_shown_as_80_10_10(small_vocab):
    ids = np.full(40, small_vocab.ids["cat"], np.uint16)
    segments = assemble(ids, np.tile(np.array([[0, 15, 16, 30, 0]], np.int32), (20_000, 1)), 32, small_vocab)
    masker = Masker(small_vocab, make_config())
    input_ids, predictions = masker.mask(segments, np.random.default_rng(0))
    chosen = np.bincount(predictions.masked_lm_positions[predictions.masked_lm_weights > 0], minlength=32)
    candidates = np.flatnonzero(find_candidates(segments)[0])
    assert np.flatnonzero(chosen).tolist() == candidates.tolist()
    expected = chosen.sum() / len(candidates)
    assert ((chosen[candidates] - expected) ** 2 / expected).sum() < 60  # chi-square, 28 degrees of freedom

    rows = np.arange(len(input_ids))[:, None]
    shown = input_ids[rows, predictions.masked_lm_positions][predictions.masked_lm_weights > 0]
    share_of_mask = (shown == small_vocab.ids["[MASK]"]).mean()
    share_of_cat = (shown == small_vocab.ids["cat"]).mean()
    assert share_of_mask == pytest.approx(0.8, abs=0.006)
    assert share_of_cat == pytest.approx(0.1 + 0.1 / len(small_vocab.ordinary_ids), abs=0.005)


def test_tokens_are_chosen_without_regard_to_the_rest_of_the_batch():
    candidates = np.zeros((3, 8), bool)
    candidates[:, 2:5] = True
    chosen = choose_tokens(candidates, np.array([0, 2, 9]), np.random.default_rng(0))
    assert chosen.sum(axis=1).tolist() == [0, 2, 3]
    assert not (chosen & ~candidates).any()


def drawn_order(included, seed):
    """The included columns of each row, by a draw for each; the lower column first where draws are equal."""
    draws = np.random.default_rng(seed).integers(1 << 47, size=included.shape)
    return [sorted(np.flatnonzero(row).tolist(), key=lambda c: keys[c]) for row, keys in zip(included, draws)]


@given(st.integers(0, 2**32), st.sampled_from([1, 6, 40]))
def test_tokens_are_chosen_one_after_the_other_in_the_drawn_order(small_vocab, seed, most):
    candidates = find_candidates(make_segments(small_vocab, seed))
    wanted = np.random.default_rng(seed).integers(0, most + 1, len(candidates))
    chosen = choose_tokens(candidates, wanted, np.random.default_rng(seed))
    for row, order in enumerate(drawn_order(candidates, seed)):
        assert np.flatnonzero(chosen[row]).tolist() == sorted(order[: wanted[row]])


@given(st.integers(0, 2**32), st.sampled_from([1, 6, 40]))
def test_words_are_chosen_one_after_the_other_in_the_drawn_order(small_vocab, seed, most):
    segments = make_segments(small_vocab, seed)
    candidates = find_candidates(segments)
    starts = find_word_starts(segments.input_ids, candidates, np.array(small_vocab.is_continuation))
    wanted = np.random.default_rng(seed).integers(0, most + 1, len(candidates))
    chosen = choose_words(candidates, starts, wanted, np.random.default_rng(seed))

    words = starts.sum(axis=1)
    for row, order in enumerate(drawn_order(np.arange(MAX_SEQ_LENGTH) < words[:, None], seed)):
        pieces = np.split(np.flatnonzero(candidates[row]), np.flatnonzero(starts[row][candidates[row]])[1:])
        expected = []
        for word in order:
            if len(expected) + len(pieces[word]) <= wanted[row]:
                expected += pieces[word].tolist()
        assert np.flatnonzero(chosen[row]).tolist() == sorted(expected)


def test_a_batch_of_none_is_masked(small_vocab):
    segments = make_segments(small_vocab, seed=0, instances=0)
    for whole_word_mask in (False, True):
        masker = Masker(small_vocab, make_config(whole_word_mask=whole_word_mask))
        input_ids, predictions = masker.mask(segments, np.random.default_rng(0))
        assert input_ids.shape == (0, MAX_SEQ_LENGTH)
        assert predictions.masked_lm_ids.shape == (0, 6)
