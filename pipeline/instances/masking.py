"""Masking: which tokens of an instance are to be predicted, and what stands in their place.

Source of the rules: `create_masked_lm_predictions` in google-research/bert.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.segments import Segments
from maskmill.tokenizer.vocab import MASK, Vocab

COLUMNS = np.uint64((1 << 15) - 1)  # the bits of a column: max_seq_length is at most 32768


@dataclass(frozen=True)
class Predictions:
    """What is to be predicted, positions ascending, padded with 0: each [n, max_predictions_per_seq]."""

    masked_lm_positions: NDArray[np.int32]
    masked_lm_ids: NDArray[np.int32]
    masked_lm_weights: NDArray[np.float32]


class Masker:
    """Chooses and hides the tokens to predict, many instances at a time."""

    def __init__(self, vocab: Vocab, config: InstanceConfig):
        self.config = config
        self.mask_id = vocab.ids[MASK]
        self.ordinary_ids = np.array(vocab.ordinary_ids, np.int32)
        self.is_continuation = np.array(vocab.is_continuation)

    def mask(self, segments: Segments, rng: np.random.Generator) -> tuple[NDArray[np.int32], Predictions]:
        """Assembled instances to masked ones and their labels.

        Of the chosen tokens 80 % become `[MASK]`, 10 % stay, 10 % become a random ordinary token of the vocabulary
        (google-research/bert draws special tokens too).

        Returns:
            input_ids: int32 [n, max_seq_length], with the chosen tokens replaced.
            predictions: where, and what stood there.
        """
        wanted = count_predictions(segments.lengths, self.config)
        candidates = find_candidates(segments)
        if self.config.whole_word_mask:
            starts = find_word_starts(segments.input_ids, candidates, self.is_continuation)
            chosen = choose_words(candidates, starts, wanted, rng)
        else:
            chosen = choose_tokens(candidates, wanted, rng)

        places = np.flatnonzero(chosen)  # row by row, positions ascending
        labels = segments.input_ids.reshape(-1)[places]
        is_given = np.arange(self.config.max_predictions_per_seq) < chosen.sum(axis=1)[:, None]
        masked_lm_positions, masked_lm_ids = np.zeros((2, *is_given.shape), np.int32)
        masked_lm_positions[is_given] = places % chosen.shape[1]
        masked_lm_ids[is_given] = labels

        kind = rng.random(len(places))
        random_ids = self.ordinary_ids[rng.integers(len(self.ordinary_ids), size=len(places))]
        input_ids = segments.input_ids.copy()
        input_ids.reshape(-1)[places] = np.where(kind < 0.8, self.mask_id, np.where(kind < 0.9, labels, random_ids))
        return input_ids, Predictions(masked_lm_positions, masked_lm_ids, is_given.astype(np.float32))


def count_predictions(lengths: NDArray[np.integer], config: InstanceConfig) -> NDArray[np.int64]:
    """How many tokens to predict in instances of these lengths, specials included: int64 [n].

    Rounds half to even, as Python's `round`.
    """
    rounded = np.rint(lengths * config.masked_lm_prob).astype(np.int64)
    counts: NDArray[np.int64] = np.clip(rounded, 1, config.max_predictions_per_seq)
    return counts


def find_candidates(segments: Segments) -> NDArray[np.bool_]:
    """True at the tokens of A and B, `[UNK]` included; not at `[CLS]`, `[SEP]` and padding: [n, max_seq_length]."""
    positions = np.arange(segments.input_ids.shape[1], dtype=np.int32)
    first_sep = segments.length_a[:, None] + 1
    last_sep = segments.lengths[:, None] - 1
    candidates: NDArray[np.bool_] = (positions > 0) & (positions < last_sep) & (positions != first_sep)
    return candidates


def choose_tokens(
    candidates: NDArray[np.bool_], wanted: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Chooses `wanted[i]` of the candidates in row i, all equally likely: [n, max_seq_length]."""
    wanted = np.minimum(wanted, candidates.sum(axis=1))
    order = _shuffled(candidates, rng)[:, : wanted.max(initial=0)]
    is_chosen = np.arange(order.shape[1]) < wanted[:, None]
    chosen = np.zeros_like(candidates)
    chosen.reshape(-1)[(order + np.arange(len(order))[:, None] * chosen.shape[1])[is_chosen]] = True
    return chosen


def find_word_starts(
    input_ids: NDArray[np.int32], candidates: NDArray[np.bool_], is_continuation: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """True where a word begins: a `##` piece belongs to the token before it, in the same segment: [n, max_seq_length].

    In google-research/bert a `##` piece that opens B joins the last word of A, across `[SEP]`.
    """
    follows_candidate = np.zeros_like(candidates)
    follows_candidate[:, 1:] = candidates[:, :-1]
    return candidates & ~(is_continuation[input_ids] & follows_candidate)


def choose_words(
    candidates: NDArray[np.bool_],
    starts: NDArray[np.bool_],
    wanted: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Chooses whole words in random order; one that would exceed `wanted[i]` tokens is passed over for the next.

    Returns bool [n, max_seq_length]: the tokens of the chosen words.
    """
    rows = np.arange(len(candidates))
    word_of = np.cumsum(starts, axis=1) - 1  # [n, max_seq_length], meaningful at candidates
    words = starts.sum(axis=1)
    word_in_batch = rows[:, None] * candidates.shape[1] + word_of
    sizes = np.bincount(word_in_batch[candidates], minlength=candidates.size).reshape(candidates.shape)  # tokens

    is_word = np.arange(candidates.shape[1]) < words[:, None]
    order = _shuffled(is_word, rng)
    chosen_words = np.zeros_like(candidates)
    left = wanted.copy()
    for rank in range(int(words.max(initial=0))):
        rows = rows[(left[rows] > 0) & (rank < words[rows])]
        if not len(rows):
            break
        word = order[rows, rank]
        size = sizes[rows, word]
        fits = size <= left[rows]
        chosen_words[rows, word] = fits
        left[rows] -= size * fits
    chosen: NDArray[np.bool_] = candidates & chosen_words.reshape(-1)[word_in_batch]
    return chosen


def _shuffled(included: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """The columns of each row in random order, those not included last: int64 [n, columns]."""
    # Each key holds its column in the lowest bits: none equals another, and sorting is faster than argsort.
    keys = rng.bit_generator.random_raw(included.size).reshape(included.shape)
    keys >>= np.uint64(1)
    keys &= ~COLUMNS
    keys |= np.arange(included.shape[1], dtype=np.uint64)
    keys |= ~included * np.uint64(1 << 63)
    keys.sort(axis=1)
    keys &= COLUMNS
    return keys.view(np.int64)
