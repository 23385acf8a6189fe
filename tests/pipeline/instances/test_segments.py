"""Assembled instances read `[CLS] A [SEP] B [SEP]`, or `[CLS] A [SEP]`, with segments and padding as BERT has them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.masking import Masker
from maskmill.pipeline.instances.segments import assemble


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 80), st.integers(0, 80)), min_size=1))
def test_instances_are_laid_out_as_bert_has_them(small_vocab, drawn):
    ids = (np.arange(100) % 20 + 6).astype(np.uint16)
    pairs = np.array([[a, a + n, b, b + m, n % 2] for n, m, a, b in drawn], np.int32)
    segments = assemble(ids, pairs, 24, small_vocab)
    cls, sep = small_vocab.ids["[CLS]"], small_vocab.ids["[SEP]"]
    for row, (n, m, a, b) in enumerate(drawn):
        segment_b = [*ids[b : b + m].tolist(), sep] if m else []
        tokens = [cls, *ids[a : a + n].tolist(), sep, *segment_b]
        padding = [0] * (24 - len(tokens))
        assert segments.input_ids[row].tolist() == tokens + padding
        assert segments.input_mask[row].tolist() == [True] * len(tokens) + [False] * len(padding)
        assert segments.segment_ids[row].tolist() == [False] * (n + 2) + [True] * len(segment_b) + [False] * len(
            padding
        )
        assert segments.lengths[row] == len(tokens)
        assert segments.is_random_next[row] == n % 2


@given(st.integers(1, 22), st.booleans())
def test_every_token_of_a_single_segment_and_nothing_else_is_masked(small_vocab, length, whole_word_mask):
    ids = np.array(small_vocab.ordinary_ids[:22], np.uint16)
    segments = assemble(ids, np.array([[0, length, length, length, 0]], np.int32), 24, small_vocab)
    config = InstanceConfig(
        objective="mlm",
        max_seq_length=24,
        max_predictions_per_seq=22,
        masked_lm_prob=1,
        whole_word_mask=whole_word_mask,
    )
    _, predictions = Masker(small_vocab, config).mask(segments, np.random.default_rng(0))
    assert predictions.masked_lm_weights.sum() == length
    assert predictions.masked_lm_positions[0, :length].tolist() == list(range(1, length + 1))
    assert (predictions.masked_lm_ids[0, :length] == ids[:length]).all()
