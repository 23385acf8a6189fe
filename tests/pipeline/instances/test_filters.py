"""What is dropped of tokenised documents, and that it is counted."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.filters import filter_document

UNK_ID = 1


def run(sentences, **options):
    """Sentences of ids -> what is kept, and the counts."""
    ids = np.array([id for sentence in sentences for id in sentence], np.uint16)
    lengths = np.array([len(sentence) for sentence in sentences], np.uint32)
    counts: Counter[str] = Counter()
    config = InstanceConfig(max_seq_length=8, max_predictions_per_seq=2, **options)
    pieces = [
        [piece.tolist() for piece in np.split(kept, np.cumsum(kept_lengths)[:-1])]
        for kept, kept_lengths in filter_document(ids, lengths, config, UNK_ID, counts)
    ]
    return pieces, +counts


SENTENCES = [[5, 6], [7], [8, 9, 10], [1, 1]]


@pytest.mark.parametrize(
    ("options", "pieces", "counts"),
    [
        ({}, [SENTENCES], {}),
        ({"min_sentence_tokens": 2}, [[[5, 6], [8, 9, 10], [1, 1]]], {"short sentences": 1}),
        ({"min_sentence_tokens": 9}, [], {"short sentences": 4, "short documents": 1}),
        ({"min_document_tokens": 8}, [SENTENCES], {}),
        ({"min_document_tokens": 9}, [], {"short documents": 1}),
        ({"max_document_tokens": 5}, [[[5, 6], [7]], [[8, 9, 10], [1, 1]]], {"documents cut": 1}),
        ({"exclude_unk_above": 0.25}, [SENTENCES], {}),
        ({"exclude_unk_above": 0.2}, [], {"documents with many [UNK]": 1}),
    ],
)
def test_each_filter_leaves_out_what_it_says_and_counts_it(options, pieces, counts):
    assert run(SENTENCES, **options) == (pieces, counts)


@given(st.lists(st.lists(st.integers(5, 9), min_size=1, max_size=12), min_size=1, max_size=12), st.integers(5, 20))
def test_cutting_loses_nothing_and_splits_no_sentence(sentences, longest):
    pieces, _ = run(sentences, max_document_tokens=longest)
    assert [sentence for piece in pieces for sentence in piece] == sentences
    assert all(sum(map(len, piece)) <= longest or len(piece) == 1 for piece in pieces)
