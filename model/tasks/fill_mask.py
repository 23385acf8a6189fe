"""The likeliest tokens for each `[MASK]` of a text."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from keras import ops

from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.randomness import Tensor
from maskmill.model.tasks.batches import BatchFunction, TextFeatures, bin_lengths, cut_batches
from maskmill.model.tasks.texts import Ids, TextEncoder
from maskmill.model.tasks.trained import TrainedBert
from maskmill.tokenizer.vocab import MASK

BATCH_TOKENS = 2048  # each of which may be a [MASK], with a score for every token of the vocabulary


class Filling(NamedTuple):
    """A token for a `[MASK]`."""

    token: str
    probability: float


class MaskFiller:
    """A trained BERT as a function of texts with `[MASK]`."""

    def __init__(self, trained: TrainedBert, top_k: int = 5):
        """Raises InputError when the model has no masked_lm head."""
        trained.require_head("masked_lm")
        self._vocab = trained.vocab
        self._names = trained.token_names
        self._encoder = TextEncoder(trained.vocab, trained.rules)
        self._longest = trained.model.config.max_position_embeddings
        top_k = min(top_k, len(self._names))
        self._best = BatchFunction(
            trained.model, lambda features: best_tokens(trained.model, features, top_k, len(self._names))
        )

    def fill(self, texts: Sequence[str], names: Sequence[str] = ()) -> Iterator[list[list[Filling]]]:
        """For each text, in order, and each of its `[MASK]`s: the likeliest tokens, the best first.

        Raises InputError when a text has no `[MASK]`, or more tokens than the model has positions; by its name, if
        `names` has one for each.
        """
        rows = self._encoder.encode_with_masks(texts, self._longest, names)
        places = [np.flatnonzero(row == self._vocab.ids[MASK]).astype(np.int32) for row in rows]
        filled: list[list[list[Filling]]] = [[]] * len(rows)
        for batch in cut_batches(list(map(len, rows)), bin_lengths(self._longest), BATCH_TOKENS):
            features = batch.fill(rows)
            features["positions"] = _pad([places[number] for number in batch.numbers], batch.num_rows)
            ids, probabilities = map(ops.convert_to_numpy, self._best(features))
            for number, best, shares in zip(batch.numbers, ids, probabilities):
                filled[number] = [
                    [Filling(self._names[id], float(share)) for id, share in zip(*one)]
                    for one, _ in zip(zip(best, shares), places[number])
                ]
        yield from filled


def fill_mask(trained: TrainedBert, texts: Sequence[str], top_k: int = 5) -> list[list[list[Filling]]]:
    """As `MaskFiller.fill`, of a few texts."""
    return list(MaskFiller(trained, top_k).fill(texts))


def best_tokens(
    model: BertPretrainer, features: TextFeatures, top_k: int, num_tokens: int | None = None
) -> tuple[Tensor, Tensor]:
    """The likeliest tokens at given positions: ids int32 and probabilities float32, [batch, predictions, top_k].

    Of input_ids, input_mask and segment_ids, int32 [batch, seq], and positions, int32 [batch, predictions]. Only the
    first `num_tokens` are taken: a table of embeddings may have more rows, which only the probabilities count.
    """
    hidden_states, _ = model.encoder(**features)
    logits = model.masked_lm_logits(hidden_states)
    scores, ids = ops.top_k(logits[..., :num_tokens], top_k)
    return ops.cast(ids, "int32"), ops.exp(scores - ops.logsumexp(logits, axis=-1, keepdims=True))


def _pad(places: Sequence[Ids], num_rows: int) -> Ids:
    """Positions of different number -> int32 [num_rows, a power of two], filled up with those of `[CLS]`."""
    most = max(map(len, places))
    padded = np.zeros((num_rows, 1 << (most - 1).bit_length()), np.int32)
    for row, of_row in zip(padded, places):
        row[: len(of_row)] = of_row
    return padded
