"""Decoded examples: their tokens one by one, each with what it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from deploy.show import LABELS
from pipeline.decoding import Arrays
from pipeline.opening import OpenedDataset, OpenedShard
from tokenizer.vocab import Vocab

EXAMPLES = 12


@dataclass(frozen=True)
class Piece:
    """A token of an example as it is shown."""

    text: str  # of a prediction, what stands there
    segment: str  # "a" or "b"
    label: str = ""  # of a prediction: the original


@dataclass(frozen=True)
class DecodedExample:
    """An example that can be read."""

    shard: str
    record: int  # the first is 1
    label: str  # in words
    tokens: int
    predictions: int
    pieces: tuple[Piece, ...]

    @property
    def runs(self) -> list[tuple[str, list[Piece]]]:
        """The pieces by the segment that they are in, one after the other."""
        return [(segment, list(run)) for segment, run in groupby(self.pieces, lambda piece: piece.segment)]


def choose_examples(opened: OpenedDataset, shards: list[OpenedShard], most: int = EXAMPLES) -> list[DecodedExample]:
    """Examples from evenly chosen shards, as many of each as are needed, from its beginning, where the order is random.

    Always the same ones.
    """
    chosen = [shards[place * len(shards) // min(most, len(shards))] for place in range(min(most, len(shards)))]
    found: list[DecodedExample] = []
    for number, shard in enumerate(chosen):
        wanted = (number + 1) * most // len(chosen) - len(found)
        for arrays in opened.read_batches(shard, wanted):
            found += list(decode_rows(arrays, opened.vocab, opened.objective, opened.mask_id, shard.name))
            break
    return found


def decode_rows(
    arrays: Arrays, vocab: Vocab | None, objective: str, mask_id: int, shard: str
) -> Iterator[DecodedExample]:
    """The first examples of a shard as text; without a vocabulary, as ids."""

    def name(id: int) -> str:
        if vocab is None:
            return "[MASK]" if id == mask_id else str(id)
        return vocab.tokens[id] if id < len(vocab) else f"id {id}"

    for row in range(len(arrays["input_ids"])):
        ids, segments = arrays["input_ids"][row].tolist(), arrays["segment_ids"][row].tolist()
        is_given = arrays["masked_lm_weights"][row] > 0
        originals = dict(
            zip(arrays["masked_lm_positions"][row][is_given].tolist(), arrays["masked_lm_ids"][row][is_given].tolist())
        )
        length = int(np.count_nonzero(arrays["input_mask"][row]))
        pieces = []
        for place in range(length):
            segment = "b" if segments[place] else "a"
            if place in originals:
                original = originals[place]
                shown = "MASK" if ids[place] == mask_id else "keep" if ids[place] == original else name(ids[place])
                pieces.append(Piece(shown, segment, name(original)))
            else:
                pieces.append(Piece(name(ids[place]), segment))
        label = LABELS[objective][min(1, int(arrays["next_sentence_labels"][row, 0]))]
        yield DecodedExample(shard, row + 1, label, length, len(originals), tuple(pieces))
