"""First weights with which attention finds the neighbours of a token from the first step on.

With the first weights of BERT, attention is nearly uniform at first, and a small model on a small corpus spends most of
its training finding out which positions are near. The neighbour start gives it that: some of the hidden dimensions hold
the position alone, and the heads of the first layer use them to look at the tokens at a distance of one or two.
Everything is trained from there; nothing is frozen. Related work: Trockman and Kolter 2023, mimetic initialization.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.layers import assign
from maskmill.tokenizer.errors import InputError

# The standard deviation of a normal distribution that is cut off at two standard deviations, as Keras and Google draw.
_TRUNCATED = 0.87962566
_LEAST = 8  # dimensions: with fewer, far positions look like near ones


@dataclass(frozen=True)
class NeighbourStart:
    """Where the heads of the first layer look at step 0, and by which of the hidden dimensions.

    benchmarks/README.md has the measurements behind the defaults.
    """

    offsets: tuple[int, ...] = (-1, 1, -2, 2)  # of the heads in turn, in tokens
    share: float = 0.125  # of the hidden dimensions, for the position; 8 or more, no more than a head is wide
    attention: float = 0.9  # of a head, that its token gets but for what the other dimensions add

    def num_dimensions(self, config: BertConfig) -> int:
        """How many of the hidden dimensions hold the position: an even number, as they are pairs of sine and cosine.

        >>> NeighbourStart().num_dimensions(BertConfig(100, hidden_size=128, num_attention_heads=2))
        16
        """
        return 2 * int(min(config.head_size, max(_LEAST, config.hidden_size * self.share)) // 2)

    def gain(self, config: BertConfig) -> float:
        """What query and key are multiplied with, such that a head gives its token the share `attention`.

        Next to it are two tokens whose scores are lower by `gap`; all others get next to nothing. Normalisation makes
        the amplitude of each sine sqrt(2), so a score is gain^2 / sqrt(head_size) * sum(2 * cos(frequency * distance)).
        """
        gap = math.log(2 * self.attention / (1 - self.attention))
        falloff = np.sum(2 * (1 - np.cos(_frequencies(self.num_dimensions(config)))))
        return float(math.sqrt(gap * math.sqrt(config.head_size) / falloff))


def begin_with_neighbours(model: BertPretrainer, start: NeighbourStart = NeighbourStart()) -> None:
    """Changes the weights of a new model to those of the neighbour start.

    In the first R hidden dimensions the word and segment tables become 0 and the position table sinusoids; elsewhere
    the position table becomes 0. In layer 0, head h gets query = gain * Rot and key = gain * I on these dimensions,
    where Rot turns each sine and cosine as moving by the offset of the head does. All other weights stay as they are.

    Raises InputError where heads are too narrow to hold a position.
    """
    config = model.config
    count = start.num_dimensions(config)
    if count < 2:
        raise InputError(
            f"first_weights is neighbours, and a head has {config.head_size} of {config.hidden_size} dimensions",
            expected="2 or more: give bert, or fewer num_attention_heads",
        )
    weights = model.named_weights
    embeddings = "bert/embeddings/"
    for name in ("word_embeddings", "token_type_embeddings"):
        table = _copied(weights[embeddings + name])
        table[:, :count] = 0
        assign(weights[embeddings + name], table)
    positions = np.zeros(weights[embeddings + "position_embeddings"].shape, np.float32)
    # As large as the sum of a word's and a segment's row is on average in the other dimensions.
    scale = 2 * _TRUNCATED * config.initializer_range
    positions[:, :count] = scale * _sinusoids(len(positions), count)
    assign(weights[embeddings + "position_embeddings"], positions)

    gain, size = start.gain(config), config.head_size
    query, key = (_copied(weights[f"bert/layer_0/{name}/kernel"]) for name in ("query", "key"))
    for head in range(config.heads[0]):
        columns = slice(head * size, head * size + count)
        offset = start.offsets[head % len(start.offsets)]
        query[:count, columns] = gain * _rotation(offset, count)
        key[:count, columns] = gain * np.eye(count)
    assign(weights["bert/layer_0/query/kernel"], query)
    assign(weights["bert/layer_0/key/kernel"], key)


def _copied(variable: keras.Variable) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.asarray(variable).copy()
    return values


def _frequencies(count: int) -> NDArray[np.float64]:
    """Radians a token for each pair of dimensions: from 1 down to a fifth, so that a step changes all of them."""
    return 5.0 ** (-np.arange(count // 2) / (count // 2))


def _sinusoids(length: int, count: int) -> NDArray[np.float64]:
    """The sines and then the cosines of each position: float64 [length, count]."""
    angles = np.arange(length)[:, None] * _frequencies(count)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _rotation(offset: int, count: int) -> NDArray[np.float64]:
    """The matrix [count, count] that takes the row of a position to that of the position `offset` tokens later.

    >>> rows = _sinusoids(10, 8)
    >>> bool(np.allclose(rows[4] @ _rotation(-2, 8), rows[2]))
    True
    """
    angles = offset * _frequencies(count)
    cos, sin = np.diag(np.cos(angles)), np.diag(np.sin(angles))
    return np.block([[cos, -sin], [sin, cos]])
