"""Matrix products in the precision of what they are given.

Unless told otherwise, a GPU rounds float32 to TF32 in a product (10 bits of the fraction instead of 23), and a TPU to
bfloat16 (7 bits). A CPU does neither.
"""

import keras
from keras import ops

from maskmill.model.bert.randomness import Tensor


def product(x: Tensor, y: Tensor) -> Tensor:
    """Of [..., a, b] and [..., b, c] -> [..., a, c], all float32 or all bfloat16.

    Float32 keeps all of its bits on every device, forward and backward. On TensorFlow that is a setting of the whole
    process, which the first such product makes.
    """
    if x.dtype != "float32":
        return ops.matmul(x, y)
    if keras.backend.backend() == "jax":
        import jax

        with jax.default_matmul_precision("highest"):
            return ops.matmul(x, y)
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    return ops.matmul(x, y)
