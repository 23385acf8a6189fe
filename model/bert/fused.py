"""What happens between the matrix products, each function one pass over memory.

TensorFlow has the better matrix products on a CPU (oneDNN's, also in bfloat16), XLA the better everything else. So the
step is a TensorFlow graph, and each function here a piece of it that XLA compiles. On other devices, and on JAX, XLA
compiles the whole step, and these are plain functions.

Whatever the dtype of the activations, float32 or bfloat16, all is computed in float32 and rounded at the end.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import keras
from keras import ops

from maskmill.model.bert.products import product
from maskmill.model.bert.randomness import Key, Tensor, random_bits

_GELU_1 = 2 * math.sqrt(2 / math.pi)
_GELU_3 = 0.044715 * _GELU_1


def fused(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes one pass over memory of a function. Float tensors come first; what has no gradient is given by name.

    Backward it is computed again from its inputs: nothing else is kept, least of all what a dropout dropped.
    """
    if keras.backend.backend() == "jax":
        import jax

        @wraps(function)
        def recomputed(*tensors: Tensor, **others: Any) -> Any:
            return jax.checkpoint(lambda *tensors: function(*tensors, **others))(*map(ops.convert_to_tensor, tensors))

        return recomputed

    import tensorflow as tf

    forward = tf.function(function, jit_compile=True, autograph=False)

    @tf.function(jit_compile=True, autograph=False)
    def backward(tensors, upstream, others):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tensors)
            results = function(*tensors, **others)
        return tape.gradient(results, tensors, upstream)

    @wraps(function)
    def compiled(*tensors: Tensor, **others: Any) -> Any:
        if tf.executing_eagerly():  # with other shapes each time, as likely as not: no use for a compiler
            return function(*tensors, **others)

        @tf.custom_gradient
        def run(*tensors):
            results = forward(*tensors, **others)
            return results, lambda *upstream: backward(tensors, upstream, others)

        return run(*map(ops.convert_to_tensor, tensors))

    return compiled


@fused
def split_heads(projected: Tensor, bias: Tensor, *, parts: int, heads: int) -> list[Tensor]:
    """Projections side by side [batch, seq, parts * heads * size] -> each of them as [batch, heads, seq, size]."""
    batch, seq, width = projected.shape
    x = ops.reshape(_float32(projected) + bias, (batch, seq, parts, heads, width // parts // heads))
    return [ops.cast(part, projected.dtype) for part in ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)))]


@fused
def attention_probs(scores: Tensor, *, size: int, input_mask: Tensor, key: Key | None, rate: float) -> Tensor:
    """Of scores [batch, heads, from_seq, to_seq]: scaled, padding left out, their softmax, with dropout."""
    padding = -10000.0 * (1.0 - _float32(input_mask))[:, None, None, :]  # [batch, 1, 1, to_seq]
    probs = ops.softmax(_float32(scores) * size**-0.5 + padding)
    return ops.cast(dropout(probs, key, rate), scores.dtype)


@fused
def merge_heads(attended: Tensor) -> Tensor:
    """Of [batch, heads, seq, size] -> [batch, seq, heads * size]."""
    batch, heads, seq, size = attended.shape
    return ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), (batch, seq, heads * size))


@fused
def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    """The tanh form of GELU, as in Google's code. (Hugging Face calls it `gelu_new`; its `gelu` is the erf form.)

    Equal to `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3))) / 2`, since `(1 + tanh(u)) / 2 = sigmoid(2 * u)`.
    """
    y = _float32(x) + bias
    return ops.cast(y * ops.sigmoid(y * (_GELU_1 + _GELU_3 * ops.square(y))), x.dtype)


@fused
def bias_tanh(x: Tensor, bias: Tensor) -> Tensor:
    """The pooler's activation."""
    return ops.cast(ops.tanh(_float32(x) + bias), x.dtype)


@fused
def norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """Normalisation of the last axis, with the epsilon of Google's code."""
    return ops.cast(_normalized(_float32(x), gamma, beta), x.dtype)


@fused
def add_norm(
    x: Tensor, update: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, *, key: Key | None, rate: float
) -> Tensor:
    """The residual connection: x and an update (its bias, then dropout) added and normalised, [..., hidden]."""
    y = dropout(_float32(update) + bias, key, rate)
    return ops.cast(_normalized(_float32(x) + y, gamma, beta), x.dtype)


@fused
def embed(
    words: Tensor,
    token_types: Tensor,
    positions: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    segment_ids: Tensor,
    key: Key | None,
    rate: float,
    dtype: str,
) -> Tensor:
    """Word, segment and position embeddings added, normalised, with dropout: [batch, seq, hidden] of a dtype.

    Of float32 [batch, seq, hidden], the tables [type_vocab_size, hidden] and [positions, hidden], and int32 segment_ids
    [batch, seq].
    """
    # A product with one-hot rows: the gradient of a gather would add up thousands of rows one by one.
    segments = product(ops.one_hot(segment_ids, token_types.shape[0]), token_types)
    x = words + segments + positions[: words.shape[1]]
    return ops.cast(dropout(_normalized(x, gamma, beta), key, rate), dtype)


@fused
def prediction_sums(logits: Tensor, bias: Tensor, *, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy and right predictions, each summed and weighted: float32 scalars. And is_right, float32 [...].

    Of logits [..., classes] and their bias, labels int32 [...] and weights float32 [...]. `is_right` is 1 where the
    label has the highest score, and 0 elsewhere.
    """
    z = _float32(logits) + bias
    top = ops.stop_gradient(ops.max(z, axis=-1, keepdims=True))
    log_sum = top[..., 0] + ops.log(ops.sum(ops.exp(z - top), axis=-1))
    classes = ops.arange(z.shape[-1], dtype="int32")
    of_label = ops.sum(ops.where(classes == labels[..., None], z, 0.0), axis=-1)
    # The first of the highest is the prediction, as argmax has it, which XLA makes slow on a CPU.
    best = ops.min(ops.where(z == top, classes, z.shape[-1]), axis=-1)
    is_right = ops.stop_gradient(ops.cast(best == labels, "float32"))
    return ops.sum(weights * (log_sum - of_label)), ops.sum(weights * is_right), is_right


def dropout(x: Tensor, key: Key | None, rate: float) -> Tensor:
    """Sets a share `rate` of the values to 0 and scales the others up. The key decides which; without one, none."""
    if key is None or not rate:
        return x
    is_kept = random_bits(key, x.shape) >= ops.convert_to_tensor(round(rate * 2**32), dtype="uint32")
    return ops.where(is_kept, x * (1.0 / (1.0 - rate)), 0.0)


def _normalized(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    centered = x - ops.mean(x, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
    return centered * ops.rsqrt(variance + 1e-12) * gamma + beta


def _float32(x: Tensor) -> Tensor:
    return ops.cast(x, "float32")
