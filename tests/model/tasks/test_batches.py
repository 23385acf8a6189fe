"""Rows of any length in batches of few shapes: each once, and little of a batch is padding."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskmill.model.tasks.batches import BIN_LENGTHS, bin_lengths, cut_batches


@given(lengths=st.lists(st.integers(2, 64), max_size=200), batch_tokens=st.integers(1, 256))
def test_every_row_is_in_one_batch_that_is_as_long_as_it_or_longer(lengths, batch_tokens):
    batches = list(cut_batches(lengths, bin_lengths(64), batch_tokens))
    assert sorted(number for batch in batches for number in batch.numbers) == list(range(len(lengths)))
    for batch in batches:
        assert max(lengths[number] for number in batch.numbers) <= batch.length
        assert len(batch.numbers) <= batch.num_rows <= max(1, batch_tokens // batch.length)
        assert batch.length in bin_lengths(64)
    assert all(len(batch.numbers) == batch.num_rows for batch in batches[:-1])
    assert not batches or batches[-1].num_rows < 2 * len(batches[-1].numbers)


def test_a_shape_comes_again_but_for_the_last():
    lengths = np.random.default_rng(0).integers(2, 65, 5000).tolist()
    batches = list(cut_batches(lengths, bin_lengths(64), 512))
    assert len({(batch.num_rows, batch.length) for batch in batches}) <= len(bin_lengths(64)) + 1


def test_short_texts_cost_little():
    lengths = np.clip(np.random.default_rng(0).geometric(0.05, 20_000) + 2, 3, 512).tolist()
    padded = sum(batch.num_rows * batch.length for batch in cut_batches(lengths, bin_lengths(512), 2048))
    assert padded < 1.25 * sum(lengths)


def test_the_longest_bin_is_the_longest_that_the_model_takes():
    assert bin_lengths(512) == list(BIN_LENGTHS)
    assert bin_lengths(5) == [5]
    assert bin_lengths(1000)[-2:] == [512, 1000]


def test_a_batch_is_filled_with_rows_and_padding():
    rows = [np.array([2, 7, 3], np.int32), np.array([2, 3], np.int32), np.array([2, 9, 9, 3], np.int32)]
    (batch,) = cut_batches([3, 2, 4], [4], 100)
    features = batch.fill(rows)
    assert features["input_ids"].tolist() == [[2, 3, 0, 0], [2, 7, 3, 0], [2, 9, 9, 3], [0, 0, 0, 0]]
    assert features["input_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]
    assert not features["segment_ids"].any()
