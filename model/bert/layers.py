"""What the encoder and the heads are made of: weights, float32 all of them, and the products with them."""

from random import Random
from typing import Any

import keras
import numpy as np
from keras import ops

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.products import product
from maskmill.model.bert.randomness import Tensor


class Part(keras.layers.Layer):
    """A layer that makes its weights at once, under its own name and those of the parts around it."""

    def __init__(self, name: str):
        # Float32 whatever ~/.keras/keras.json says; and the activations have their dtype already.
        super().__init__(name=name, dtype="float32", autocast=False)
        self.built = True

    def named(self) -> keras.name_scope:
        """Where the parts of this one are made."""
        return keras.name_scope(self.name)


class Dense(Part):
    """A kernel [in, out] and a bias [out]. Called, it gives the product alone; its user adds the bias, fused."""

    def __init__(self, inputs: int, outputs: int, config: BertConfig, seeds: Random, name: str):
        super().__init__(name)
        self.kernel = self.add_weight(shape=(inputs, outputs), initializer=initializer(config, seeds), name="kernel")
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")

    def call(self, x: Tensor) -> Tensor:
        """Of [..., in] -> [..., out], without the bias."""
        return multiply(x, self.kernel)


class LayerNorm(Part):
    """Scale `gamma` and offset `beta` [hidden] of a normalisation."""

    def __init__(self, hidden_size: int, name: str):
        super().__init__(name)
        self.gamma = self.add_weight(shape=(hidden_size,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(hidden_size,), initializer="zeros", name="beta")


def multiply(x: Tensor, kernel: Any, transposed: bool = False) -> Tensor:
    """Of [..., in] and a float32 kernel [in, out] (or transposed) -> [..., out], computed in the dtype of x."""
    kernel = ops.cast(kernel, x.dtype)
    if transposed:  # after the cast: so TensorFlow takes both for one product
        kernel = ops.transpose(kernel)
    # As a matrix: of three axes TensorFlow makes a product for each sequence, and adds up their gradients.
    rows = product(ops.reshape(x, (-1, x.shape[-1])), kernel)
    return ops.reshape(rows, (*x.shape[:-1], kernel.shape[-1]))


def gather(x: Tensor, positions: Tensor) -> Tensor:
    """Of [batch, seq, ...] what is at int32 positions [batch, n] -> [batch, n, ...]."""
    batch, seq, *rest = x.shape
    if keras.backend.backend() == "jax":  # row by row, so that no device needs the rows of another
        columns = ops.reshape(positions, (*positions.shape, *(1 for _ in rest)))
        return ops.take_along_axis(x, columns, axis=1)
    places = positions + seq * ops.arange(batch, dtype="int32")[:, None]
    return ops.take(ops.reshape(x, (-1, *rest)), places, axis=0)


def initializer(config: BertConfig, seeds: Random) -> keras.initializers.Initializer:
    """Truncated normal, with a seed of its own: two layers with the same seed would start as the same layer."""
    return keras.initializers.TruncatedNormal(stddev=config.initializer_range, seed=seeds.getrandbits(31))


def assign(variable: keras.Variable, value: np.ndarray) -> None:
    """Gives a variable a value, which is the same in all processes.

    Without comparing: JAX would send the value of each process to all others, which for many hosts and a large model
    takes more memory than a device has.
    """
    sharding = getattr(variable.value, "sharding", None)
    if sharding is None or sharding.is_fully_addressable:
        variable.assign(value)
        return
    import jax

    variable.assign(jax.make_array_from_callback(variable.shape, sharding, lambda place: value[place]))
