"""Products in float32 keep all of their bits on a GPU or TPU. test_bert.py looks at the step on JAX."""

import re

import keras
import numpy as np
import pytest
from keras import ops
from places import ROOT

from maskmill.model.bert.products import product

MODEL = ROOT / "model"


def test_all_products_are_made_in_one_place():
    others = re.compile(r"\b(ops|np|jnp|tf|linalg)\.(matmul|dot|einsum|tensordot|vdot|inner|outer)\(")
    found = {path.name for path in MODEL.rglob("*.py") if others.search(path.read_text())}
    assert found == {"products.py"}


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="a setting of TensorFlow")
def test_a_product_in_float32_and_no_other_turns_tf32_off():
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    tf.config.experimental.enable_tensor_float_32_execution(True)
    product(ops.cast(x, "bfloat16"), ops.cast(x.T, "bfloat16"))
    assert tf.config.experimental.tensor_float_32_execution_enabled()
    np.testing.assert_allclose(product(ops.cast(x, "float32"), ops.cast(x.T, "float32")), x @ x.T, rtol=1e-5)
    assert not tf.config.experimental.tensor_float_32_execution_enabled()
