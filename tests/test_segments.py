"""Assembled instances read `[CLS] A [SEP] B [SEP]`, with segments and padding as BERT has them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.segments import assemble


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 80), st.integers(0, 80)), min_size=1))
def test_instances_are_laid_out_as_bert_has_them(small_vocab, drawn):
    ids = (np.arange(100) % 20 + 6).astype(np.uint16)
    pairs = np.array([[a, a + n, b, b + m, n % 2] for n, m, a, b in drawn], np.int32)
    segments = assemble(ids, pairs, 24, small_vocab)
    cls, sep = small_vocab.ids["[CLS]"], small_vocab.ids["[SEP]"]
    for row, (n, m, a, b) in enumerate(drawn):
        tokens = [cls, *ids[a : a + n].tolist(), sep, *ids[b : b + m].tolist(), sep]
        padding = [0] * (24 - len(tokens))
        assert segments.input_ids[row].tolist() == tokens + padding
        assert segments.input_mask[row].tolist() == [True] * len(tokens) + [False] * len(padding)
        assert segments.segment_ids[row].tolist() == [False] * (n + 2) + [True] * (m + 1) + [False] * len(padding)
        assert segments.lengths[row] == len(tokens)
        assert segments.is_random_next[row] == n % 2
