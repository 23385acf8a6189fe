"""How much a training step computes, and how much the machine could: their ratio is the MFU."""

import time
from functools import cache

import keras
import numpy as np
from keras import ops

from maskmill.model.bert.config import BertConfig, ComputeDtype
from maskmill.model.bert.products import product

# Of the matrices whose product is timed: so large that it takes a millisecond or more.
_SIZE_ON_CPU, _SIZE_ELSEWHERE = 2048, 8192
_TRIES = 4


def train_flops(config: BertConfig, max_seq_length: int, max_predictions_per_seq: int) -> float:
    """Floating-point operations that a training step needs for one sequence: its matrix products, times three.

    A product of [a, b] and [b, c] is 2abc operations forward, and twice that backward. What is computed twice to save
    memory does not count, nor does what nobody reads: of the last layer, all but `[CLS]` and the masked positions.
    """
    hidden, seq, places = config.hidden_size, max_seq_length, max_predictions_per_seq + 1

    def layer(rows: int, heads: int, units: int) -> int:  # at so many of the positions
        width = heads * config.head_size
        projections = 2 * rows * hidden * width + 2 * seq * hidden * 2 * width + 2 * rows * width * hidden
        attention = 2 * (2 * rows * seq * width)
        feed_forward = 2 * (2 * rows * hidden * units)
        return projections + attention + feed_forward

    heads = 2 * max_predictions_per_seq * hidden * (hidden + config.vocab_size) + 2 * hidden * (hidden + 2)
    rows = [seq] * (config.num_hidden_layers - 1) + [places]
    return 3.0 * (sum(map(layer, rows, config.heads, config.units)) + heads)


def is_on_cpu() -> bool:
    """Whether a step runs on processors, in the memory of the machine, for want of a GPU or TPU."""
    return bool(keras.distribution.list_devices()[0].startswith("cpu"))


@cache
def measure_peak(compute_dtype: ComputeDtype) -> float:
    """Floating-point operations a second of a large matrix product on one device, the best of a few tries.

    Measured once in a process.
    """
    size = _SIZE_ON_CPU if is_on_cpu() else _SIZE_ELSEWHERE
    a = ops.cast(np.random.default_rng(0).random((size, size), np.float32), compute_dtype)

    def seconds() -> float:
        start = time.perf_counter()
        float(ops.cast(product(a, a)[0, 0], "float32"))
        return time.perf_counter() - start

    seconds()  # compiles
    return 2 * size**3 / min(seconds() for _ in range(_TRIES))
