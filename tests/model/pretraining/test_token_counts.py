import numpy as np
import pytest

from maskmill.model.pretraining.token_counts import Band, TokenCounts
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab

VOCAB = Vocab([*SPECIAL_TOKENS, "the", "##ing", "写"])
PAD, UNK, CLS, SEP, MASK, THE, ING, WRITE = range(8)


def batch_of(input_ids, positions, labels, weights):
    """A batch as the reader makes it; padding has no mask."""
    ids = np.array(input_ids, np.int32)
    return {
        "input_ids": ids,
        "input_mask": (ids != PAD).astype(np.int32),
        "masked_lm_positions": np.array(positions, np.int32),
        "masked_lm_ids": np.array(labels, np.int32),
        "masked_lm_weights": np.array(weights, np.float32),
    }


FIRST = batch_of(
    [[CLS, MASK, ING, THE, SEP, PAD], [CLS, ING, MASK, SEP, PAD, PAD]],
    [[1, 3], [2, 0]],  # `the` is shown as it is; the last position is padding
    [[WRITE, THE], [UNK, 0]],
    [[1, 1], [1, 0]],
)
SECOND = batch_of([[CLS, THE, THE, SEP, PAD, PAD], [PAD] * 6], [[2, 0], [0, 0]], [[ING, 0], [0, 0]], [[1, 0], [0, 0]])


def counts_of_both():
    counts = TokenCounts(VOCAB)
    counts.add(FIRST, np.array([[1, 0], [1, 1]], np.float32))
    counts.add(SECOND, np.array([[1, 1], [1, 1]], np.float32))
    return counts


def test_tokens_are_counted_as_the_text_has_them_and_padding_is_not():
    counts = counts_of_both()
    assert counts.occurrences.tolist() == [0, 1, 3, 3, 0, 2, 3, 1]
    assert counts.masked.tolist() == [0, 1, 0, 0, 0, 1, 1, 1]
    assert counts.right.tolist() == [0, 1, 0, 0, 0, 0, 1, 1]
    assert counts.masked_tokens == 4
    assert counts.guess == 0.25


def test_a_continuation_has_the_characters_after_its_mark_and_unk_has_none():
    assert counts_of_both().characters == len("the") + len("ing") + len("写")


def test_a_token_is_in_the_band_of_its_occurrences_per_million_without_cls_and_sep():
    counts = TokenCounts(VOCAB)
    #                          PAD UNK    CLS        SEP MASK  THE  ING  WRITE
    counts.occurrences[:] = [0, 1_999_790, 10**9, 10**9, 0, 199, 2, 9]
    counts.masked[:] = [0, 30, 0, 0, 0, 8, 2, 6]
    counts.right[:] = [0, 15, 0, 0, 0, 2, 0, 4]
    assert list(counts.bands()) == [
        Band(0, 10, 8, 4 / 8, 6 / 8),  # 1 and 4.5 per million
        Band(10, 100, 8, 2 / 8, 1.0),  # 99.5
        Band(10_000, None, 30, 15 / 30, 1.0),
    ]
    counts.occurrences[[UNK, THE]] = 1_999_789, 200
    assert [band.per_million_from for band in counts.bands()] == [0, 100, 10_000]
    assert [band.name for band in counts.bands()] == [
        f"masked_lm_accuracy_{bounds}_per_million" for bounds in ("below_10", "100_to_1000", "10000_or_more")
    ]


def test_an_id_that_the_vocabulary_has_not_is_refused():
    wrong = {**FIRST, "masked_lm_ids": FIRST["masked_lm_ids"] + 8}
    with pytest.raises(InputError, match="a token id of 15, and its vocabulary 8 tokens; generate the dataset again"):
        TokenCounts(VOCAB).add(wrong, np.ones((2, 2), np.float32))
