"""Dynamic masking: what is to be predicted is chosen and hidden anew each time an example is seen, on the device.

The rules are those of the shards: `pipeline/instances/masking.py` says them in numpy, function by function under the
same names. Here they are ops with static shapes, which run inside a compiled step on TensorFlow and on JAX. All
arithmetic is on integers and all draws come from `random_bits`, so both backends and any number of devices give the
same masks.

Shapes are written with batch, seq (max_seq_length) and predictions (max_predictions_per_seq).
"""

import os
from dataclasses import dataclass

import numpy as np
from keras import ops
from numpy.typing import NDArray

from maskmill.model.bert.layers import gather
from maskmill.model.bert.randomness import Key, Tensor, fold_in, random_below, random_bits
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import MANIFEST, VOCAB
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import MASK, Vocab

_MASKING = 0x6D61736B  # "mask": whatever else a caller folds into the same key, these draws are others
_ORDER, _KIND, _RANDOM_WORD = range(3)


@dataclass(frozen=True, eq=False)
class MaskingRules:
    """How the tokens of a dataset are masked: what of its configuration and its vocabulary decides that."""

    max_predictions_per_seq: int
    whole_word_mask: bool
    mask_id: int
    ordinary_ids: NDArray[np.int32]  # what a random word is drawn from
    is_continuation: NDArray[np.bool_]  # [vocab_size], see `Vocab.is_continuation`
    predictions_of_length: NDArray[np.int32]  # [max_seq_length + 1]: how many for a length in tokens, specials included

    @classmethod
    def load(cls, dataset: Dataset) -> "MaskingRules":
        """The rules that the shards of a dataset were made by.

        Raises InputError when its manifest does not say them all, or its vocabulary is none of BERT's.
        """
        info, directory = dataset.info, dataset.directory
        for name in ("masked_lm_prob", "whole_word_mask"):
            if name not in info.config:
                raise InputError(
                    f"{os.path.join(directory, MANIFEST)} has no {name}, which --dynamic-masking needs",
                    way_out="generate the dataset again, or train without --dynamic-masking",
                )
        vocab = Vocab.parse(dataset.read_vocab(), os.path.join(directory, VOCAB))
        # A table, made here in float64: in float32 some of the products would round to the other side.
        lengths = np.arange(info.max_seq_length + 1)
        predictions = np.clip(np.rint(lengths * info.config["masked_lm_prob"]), 1, info.max_predictions_per_seq)
        predictions[0] = 0  # the rows of zeros that fill up a batch
        return cls(
            max_predictions_per_seq=info.max_predictions_per_seq,
            whole_word_mask=info.config["whole_word_mask"],
            mask_id=vocab.ids[MASK],
            ordinary_ids=np.array(vocab.ordinary_ids, np.int32),
            is_continuation=np.array(vocab.is_continuation),
            predictions_of_length=predictions.astype(np.int32),
        )


def remask(
    features: dict[str, Tensor], key: Key, rules: MaskingRules, first_row: Tensor | int = 0
) -> dict[str, Tensor]:
    """Undoes the masking of a batch, and masks it anew.

    Args:
        features: as of the records, [batch, feature.length], int32 and float32; rows of zeros stay as they are.
        key: of the training and the step. What is drawn depends on the key and the place in the batch alone.
        rules: those the batch was masked by.
        first_row: where the batch is a part of a larger one, the number of its first row there: the parts are masked
            as in the whole.

    Returns:
        The features, with other `input_ids`, `masked_lm_positions` (ascending), `masked_lm_ids`, `masked_lm_weights`.
    """
    key = fold_in(key, _MASKING)
    input_ids = unmask(features)
    batch, seq = input_ids.shape

    def draw(use: int) -> Tensor:
        return random_bits(fold_in(key, use), (batch, seq), ops.cast(first_row, "uint32") * seq)

    candidates = find_candidates(features["input_mask"], features["segment_ids"])
    wanted = ops.take(rules.predictions_of_length, ops.sum(features["input_mask"], axis=1))
    if rules.whole_word_mask:
        starts = find_word_starts(input_ids, candidates, rules.is_continuation)
        chosen = choose_words(candidates, starts, wanted, draw(_ORDER))
    else:
        chosen = choose_tokens(candidates, wanted, draw(_ORDER))

    kind = random_below(draw(_KIND), 10)
    random_ids = ops.take(rules.ordinary_ids, random_below(draw(_RANDOM_WORD), len(rules.ordinary_ids)))
    shown = ops.where(kind < 8, rules.mask_id, ops.where(kind < 9, input_ids, random_ids))

    positions = ops.sort(ops.where(chosen, _columns(seq), seq))[:, : rules.max_predictions_per_seq]
    is_given = positions < seq
    positions = ops.where(is_given, positions, 0)
    return {
        **features,
        "input_ids": ops.where(chosen, shown, input_ids),
        "masked_lm_positions": positions,
        "masked_lm_ids": ops.where(is_given, gather(input_ids, positions), 0),
        "masked_lm_weights": ops.cast(is_given, "float32"),
    }


def unmask(features: dict[str, Tensor]) -> Tensor:
    """The tokens before they were masked: int32 [batch, seq]."""
    input_ids, labels = features["input_ids"], features["masked_lm_ids"]
    is_given = features["masked_lm_weights"] > 0
    # Compared with every column, for many a prediction that pads a row writes to the same place.
    is_here = (features["masked_lm_positions"][:, :, None] == _columns(input_ids.shape[1])) & is_given[:, :, None]
    label = ops.sum(ops.where(is_here, labels[:, :, None], 0), axis=1)  # of [batch, predictions, seq]
    return ops.where(ops.any(is_here, axis=1), label, input_ids)


def find_candidates(input_mask: Tensor, segment_ids: Tensor) -> Tensor:
    """True at the tokens of A and B, not at `[CLS]`, `[SEP]` and padding: [batch, seq].

    A `[SEP]` is where a segment ends, whatever its id, and whether there is a B or not (`--objective mlm`).
    """
    segment = input_mask * (1 + segment_ids)  # 0 is padding
    next_segment = ops.pad(segment[:, 1:], ((0, 0), (0, 1)))
    return (segment > 0) & (segment == next_segment) & (_columns(segment.shape[1]) > 0)


def choose_tokens(candidates: Tensor, wanted: Tensor, bits: Tensor) -> Tensor:
    """Chooses `wanted[i]` of the candidates in row i, or all if they are fewer: [batch, seq].

    Bits are random uint32 [batch, seq]: the candidates of the lowest ones are chosen.
    """
    keys = _shuffling_keys(candidates, bits)
    last = gather(ops.sort(keys), ops.maximum(wanted - 1, 0)[:, None])  # no two keys are equal
    return candidates & (keys <= last) & (wanted > 0)[:, None]


def find_word_starts(input_ids: Tensor, candidates: Tensor, is_continuation: Tensor) -> Tensor:
    """True where a word begins: a `##` piece belongs to the token before it, in the same segment: [batch, seq]."""
    follows_candidate = ops.pad(candidates[:, :-1], ((0, 0), (1, 0)))
    return candidates & ~(ops.take(is_continuation, input_ids) & follows_candidate)


def choose_words(candidates: Tensor, starts: Tensor, wanted: Tensor, bits: Tensor) -> Tensor:
    """Chooses whole words in random order; one that would exceed `wanted[i]` tokens is passed over for the next.

    Bits are random uint32 [batch, seq]: those at column w are for the word w of the row, which says its place in the
    order. Returns bool [batch, seq]: the tokens of the chosen words.
    """
    seq = candidates.shape[1]
    words = ops.sum(ops.cast(starts, "int32"), axis=1, keepdims=True)
    tokens = ops.sum(ops.cast(candidates, "int32"), axis=1, keepdims=True)
    # Of each word the number of candidates before it; after the last word, of all. Its size is the step to the next.
    before = ops.cumsum(ops.cast(candidates, "int32"), axis=1) - 1
    before = ops.sort(ops.where(starts, before, tokens))
    sizes = ops.concatenate([before[:, 1:], tokens], axis=1) - before  # [batch, seq], by word, then zeros

    order = _columns_of(ops.sort(_shuffling_keys(_columns(seq) < words, bits)))
    taken = _take_in_order(gather(sizes, order), wanted)
    is_taken = ops.sort(order * 2 + ops.cast(taken, "int32")) % 2 > 0  # back in the order of the text

    word = ops.maximum(ops.cumsum(ops.cast(starts, "int32"), axis=1) - 1, 0)
    return candidates & gather(is_taken, word)


def _take_in_order(sizes: Tensor, room: Tensor) -> Tensor:
    """One after the other, takes what fits into the room that those before it left: bool [batch, n].

    Sizes are int32 [batch, n], 0 where there is nothing to take; room is int32 [batch].

    A round takes all up to the first that does not fit, and drops all for which there is no room any more. So two or
    three rounds do for a batch of text, where one word after the other would be a hundred.
    """

    def take_some(waiting, room, taken):  # waiting: the sizes of those that would still fit, else 0
        takes = (waiting > 0) & (ops.cumsum(waiting, axis=1) <= room)
        room = room - ops.sum(ops.where(takes, waiting, 0), axis=1, keepdims=True)
        return ops.where(takes | (waiting > room), 0, waiting), room, taken | takes

    room = room[:, None]
    waiting = ops.where(sizes > room, 0, sizes)
    taken = ops.zeros_like(sizes, dtype="bool")
    return ops.while_loop(lambda waiting, *_: ops.any(waiting > 0), take_some, (waiting, room, taken))[2]


def _shuffling_keys(included: Tensor, bits: Tensor) -> Tensor:
    """For each column a number that is unlike all others in its row: int32 [batch, n], the lowest bits the column.

    Sorted they give the included columns, which are negative, in random order; then the others.
    """
    width = _width(included.shape[1])
    drawn = ops.cast(ops.right_shift(bits, ops.cast(width + 1, "uint32")), "int32")  # a tie goes to the lower column
    keys = ops.left_shift(drawn, width) + _columns(included.shape[1])
    return keys + ops.where(included, -(1 << 31), 0)


def _columns_of(keys: Tensor) -> Tensor:
    return ops.bitwise_and(keys, (1 << _width(keys.shape[1])) - 1)


def _width(columns: int) -> int:
    """Bits that hold the number of a column."""
    return (columns - 1).bit_length()


def _columns(seq: int) -> Tensor:
    return ops.arange(seq, dtype="int32")
