"""What the encoder and the heads are made of."""

import math
from collections.abc import Callable
from random import Random
from typing import Any

import keras
from keras import ops

from model.config import BertConfig

Tensor = Any  # of the backend in use

_GELU_1 = 2 * math.sqrt(2 / math.pi)
_GELU_3 = 0.044715 * _GELU_1


def gelu(x: Tensor) -> Tensor:
    """The tanh form of GELU, as in Google's code. (Hugging Face calls it `gelu_new`; its `gelu` is the erf form.)

    Equal to `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3))) / 2`, since `(1 + tanh(u)) / 2 = sigmoid(2 * u)`.
    """
    # Half as many passes over the widest activations as the tanh, and no pow: a third of a small model's step.
    return x * ops.sigmoid(x * (_GELU_1 + _GELU_3 * ops.square(x)))


def gather(x: Tensor, positions: Tensor) -> Tensor:
    """Of [batch, seq, hidden] the rows at int32 positions [batch, n] -> [batch, n, hidden]."""
    batch, seq, hidden = ops.shape(x)
    rows = positions + seq * ops.arange(batch, dtype="int32")[:, None]
    return ops.take(ops.reshape(x, (-1, hidden)), rows, axis=0)


def initializer(config: BertConfig, seeds: Random) -> keras.initializers.Initializer:
    """Truncated normal, with a seed of its own: two layers with the same seed would start as the same layer."""
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range, seed=seeds.getrandbits(31))


def dense(
    units: int, config: BertConfig, seeds: Random, name: str, activation: str | Callable[[Tensor], Tensor] | None = None
) -> keras.layers.Dense:
    """A dense layer with BERT's initialisation."""
    return keras.layers.Dense(units, activation, kernel_initializer=initializer(config, seeds), name=name)


def layer_norm(name: str) -> keras.layers.LayerNormalization:
    """Normalisation of the last axis, with the epsilon of Google's code."""
    return keras.layers.LayerNormalization(epsilon=1e-12, name=name)


def dropout(rate: float, seeds: Random) -> keras.layers.Dropout:
    """Dropout with a random generator of its own, whose state is part of a checkpoint."""
    return keras.layers.Dropout(rate, seed=seeds.getrandbits(31))
