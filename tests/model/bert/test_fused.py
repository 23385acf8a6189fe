"""Each fused function against the plain one that it is made of, forward and backward."""

import keras
import numpy as np
import pytest

from maskmill.model.bert import fused
from maskmill.model.bert.randomness import key_of

B, S, H, HEADS = 2, 5, 8, 2
RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.normal(size=shape).astype("float32")


KEY = {"key": key_of(3), "rate": 0.3}
SCALE = floats(H), floats(H)
CASES = {
    "split_heads": ((floats(B, S, 3 * H), floats(3 * H)), {"parts": 3, "heads": HEADS}),
    "attention_probs": (
        (floats(B, HEADS, S, S),),
        {"size": 4, "input_mask": np.array([[1] * S, [1, 1, 1, 0, 0]], np.int32), **KEY},
    ),
    "merge_heads": ((floats(B, HEADS, S, H // HEADS),), {}),
    "bias_gelu": ((floats(B, S, H), floats(H)), {}),
    "bias_tanh": ((floats(B, H), floats(H)), {}),
    "norm": ((floats(B, S, H), *SCALE), {}),
    "add_norm": ((floats(B, S, H), floats(B, S, H), floats(H), *SCALE), KEY),
    "embed": (
        (floats(B, S, H), floats(2, H), floats(S + 3, H), *SCALE),
        {"segment_ids": np.array([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]], np.int32), "dtype": "float32", **KEY},
    ),
    "prediction_sums": (
        (floats(B, S, 11), floats(11)),
        {"labels": RNG.integers(0, 11, (B, S)).astype("int32"), "weights": floats(B, S) > 0},
    ),
}  # fmt: skip
CASES["prediction_sums"][1]["weights"] = CASES["prediction_sums"][1]["weights"].astype("float32")


def values_and_gradients(function, tensors, others, compiled):
    """The results of a function, and the gradients of a weighted sum of them, on the backend in use."""

    def weighted_sum(results):
        """Weights that differ, so that no gradient of a sum is hidden in another's."""
        weights = [np.cos(np.arange(np.prod(r.shape))).astype("float32").reshape(r.shape) for r in listed(results)]
        return sum(keras.ops.sum(r * w) for r, w in zip(listed(results), weights))

    if keras.backend.backend() == "jax":
        import jax

        compute = lambda *tensors: function(*tensors, **others)  # noqa: E731
        run = jax.jit if compiled else (lambda f: f)
        gradients = run(jax.grad(lambda tensors: weighted_sum(compute(*tensors))))(tensors)
        return run(compute)(*tensors), gradients
    import tensorflow as tf

    def compute(*tensors):
        tensors = [tf.convert_to_tensor(t) for t in tensors]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            results = function(*tensors, **others)
            total = weighted_sum(results)
        return results, tape.gradient(total, tensors)

    return (tf.function(compute, autograph=False) if compiled else compute)(*tensors)


def listed(results):
    return results if isinstance(results, tuple | list) else [results]


@pytest.mark.parametrize("name", CASES)
def test_fused_functions_equal_the_plain_ones_forward_and_backward(name):
    tensors, others = CASES[name]
    function = getattr(fused, name)
    results, gradients = values_and_gradients(function, tensors, others, compiled=True)
    plain, plain_gradients = values_and_gradients(function.__wrapped__, tensors, others, compiled=False)
    for ours, expected in zip([*listed(results), *gradients], [*listed(plain), *plain_gradients], strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_the_function_is_what_its_test_covers():
    names = {name for name, value in vars(fused).items() if hasattr(value, "__wrapped__")}
    assert names == set(CASES)


def test_gelu_is_the_tanh_form():
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    tanh_form = x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2
    np.testing.assert_allclose(fused.bias_gelu(x, np.zeros(101, np.float32)), tanh_form, atol=1e-6)


def test_dropout_keeps_the_share_and_the_mean():
    x = np.ones((1000, 200), np.float32)
    y = np.asarray(fused.dropout(x, key_of(5), 0.1))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.9)}
    assert (y == 0).mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / x.size))
    assert not np.array_equal(y, np.asarray(fused.dropout(x, key_of(6), 0.1)))


def test_the_first_of_equal_scores_is_the_prediction():
    logits, bias = np.array([[1, 3, 3, 0]] * 4, np.float32), np.zeros(4, np.float32)
    _, right, is_right = fused.prediction_sums(logits, bias, labels=np.arange(4), weights=np.ones(4))
    assert np.asarray(is_right).tolist() == [0, 1, 0, 0]
    assert float(right) == 1
