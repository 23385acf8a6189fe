"""How much memory a training step takes, and what to say when there is too little."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from maskmill.model.bert.config import BertConfig, ComputeDtype
from maskmill.tokenizer.errors import InputError

_BYTES = {"float32": 4, "bfloat16": 2}


def state_bytes(bert: BertConfig) -> int:
    """What a training takes whatever the batch: weights, the optimizer's two means, and gradients."""
    return 16 * bert.num_weights


def step_bytes(
    bert: BertConfig, precision: ComputeDtype, sequences: int, max_seq_length: int, max_predictions_per_seq: int
) -> int:
    """The least that a training step on so many sequences takes, in bytes.

    It takes weights, the optimizer's two means, gradients, and what backward needs.

    Of each layer that is its input, the projections and again as heads, the scores and the probabilities, and what the
    feed-forward part and both normalisations begin with; and the scores of the tokens, with their gradient. What else a
    compiler sets aside is a sixth more (TensorFlow in float32) to nine tenths more (in bfloat16), and a gigabyte.
    """
    heads, units = sum(bert.heads), sum(bert.units)  # of all layers
    hidden = 6 * bert.num_hidden_layers * bert.hidden_size + 6 * bert.head_size * heads + 2 * units
    layers = max_seq_length * (hidden + 2 * heads * max_seq_length)
    scores = 2 * max_predictions_per_seq * bert.vocab_size
    return state_bytes(bert) + sequences * _BYTES[precision] * (layers + scores)


def require_countable(bert: BertConfig, max_seq_length: int) -> None:
    """Raises InputError when one sequence has more attention scores in a layer than dropout counts, 2^31 - 1."""
    heads = max(bert.heads)
    if heads * max_seq_length**2 >= 1 << 31:
        raise InputError(
            f"sequences of {max_seq_length:,} tokens are too long for {heads} attention heads",
            expected=f"{math.isqrt(((1 << 31) - 1) // heads):,} tokens or fewer: give shorter sequences",
        )


@contextmanager
def want_of_memory(what: str, way_out: str) -> Iterator[None]:
    """Within it, a want of memory on any device is an InputError: `what` does not fit into memory; give `way_out`."""
    try:
        yield
    except Exception as error:
        if is_want_of_memory(error):
            raise InputError(f"{what} does not fit into memory", way_out=f"give {way_out}") from error
        raise


def is_want_of_memory(error: Exception) -> bool:
    """Whether an error of Python's, TensorFlow's or JAX's says that there is not enough memory."""
    said = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or "ResourceExhausted" in said or "RESOURCE_EXHAUSTED" in said
