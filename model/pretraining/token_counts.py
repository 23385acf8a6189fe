"""What an evaluation counts of each token of the vocabulary, in memory that does not grow with the split."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from maskmill.model.pretraining.examples import Features
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import CLS, SEP, Vocab

BOUNDS = (10, 100, 1_000, 10_000)  # between the bands, in occurrences per million tokens


@dataclass(frozen=True)
class Band:
    """The tokens that are about equally frequent, and how well they are predicted where they are masked."""

    per_million_from: int
    per_million_below: int | None  # None: the most frequent tokens
    masked_tokens: int
    masked_lm_accuracy: float
    guess: float  # the accuracy of always predicting the token of the band that is masked most often

    @property
    def name(self) -> str:
        """The name of its accuracy.

        >>> Band(10, 100, 5, 0.4, 0.2).name
        'masked_lm_accuracy_10_to_100_per_million'
        """
        low, high = self.per_million_from, self.per_million_below
        bounds = f"{low}_or_more" if high is None else f"{low}_to_{high}" if low else f"below_{high}"
        return f"masked_lm_accuracy_{bounds}_per_million"


class TokenCounts:
    """How often each token occurs in a split, is masked there, and is predicted: int64 [vocab_size] each."""

    def __init__(self, vocab: Vocab):
        self.vocab = vocab
        self.occurrences, self.masked, self.right = np.zeros((3, len(vocab)), np.int64)

    def add(self, batch: Features, is_right: NDArray[np.float32]) -> None:
        """Counts a batch, and which of its masked tokens were predicted, [batch, predictions].

        Raises InputError when it holds an id that the vocabulary has not.
        """
        is_masked = batch["masked_lm_weights"] > 0
        labels = batch["masked_lm_ids"][is_masked]
        shown = np.take_along_axis(batch["input_ids"], batch["masked_lm_positions"], axis=1)[is_masked]
        masked = self._count(labels)
        self.masked += masked
        self.right += self._count(labels[is_right[is_masked] > 0])
        # The tokens of the text: where one is masked, the label and not what is shown.
        self.occurrences += self._count(batch["input_ids"][batch["input_mask"] > 0]) - self._count(shown) + masked

    @property
    def masked_tokens(self) -> int:
        """The number of masked tokens."""
        return int(self.masked.sum())

    @property
    def guess(self) -> float:
        """The accuracy of always predicting the token that is masked most often. No other token does better."""
        return float(self.masked.max() / max(1, self.masked_tokens))

    @property
    def characters(self) -> int:
        """The characters of the masked tokens: `##ing` has 3, `[UNK]` and other special tokens have none."""
        lengths = np.zeros(len(self.vocab), np.int64)
        lengths[self.vocab.ordinary_ids] = [len(self.vocab.text_of(id)) for id in self.vocab.ordinary_ids]
        return int(self.masked @ lengths)

    def bands(self) -> Iterator[Band]:
        """The bands that have masked tokens, the rarest tokens first.

        A token is in a band by its occurrences per million tokens of the split, `[CLS]` and `[SEP]` not counted.
        """
        occurrences = self.occurrences.copy()
        occurrences[[self.vocab.ids[CLS], self.vocab.ids[SEP]]] = 0
        # In whole numbers, so that a token lies on the right side of a bound.
        band_of = np.searchsorted(BOUNDS, 1_000_000 * occurrences // max(1, occurrences.sum()), side="right")
        for number, (low, high) in enumerate(pairwise((0, *BOUNDS, None))):
            masked, right = self.masked[band_of == number], self.right[band_of == number].sum()
            if total := int(masked.sum()):
                yield Band(low or 0, high, total, float(right / total), float(masked.max() / total))

    def _count(self, ids: NDArray[np.int32]) -> NDArray[np.int64]:
        size = len(self.vocab)
        counts = np.bincount(ids, minlength=size)
        if len(counts) > size:
            raise InputError(
                f"the dataset has a token id of {len(counts) - 1}, and its vocabulary {size:,} tokens",
                way_out="generate the dataset again",
            )
        return counts
