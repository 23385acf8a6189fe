"""A trace of a few steps: what the processor or the device did when, for TensorBoard's profile page."""

from pathlib import Path

import keras

from model.randomness import Tensor

PROFILE = "profile"
FIRST_STEP, LAST_STEP = 3, 6  # of this run: the first ones compile and warm up


class Profiler:
    """Traces steps FIRST_STEP + 1 to LAST_STEP of a run into `profile` in the model folder, when wanted."""

    def __init__(self, model_dir: Path, is_wanted: bool):
        self.folder = str(model_dir / PROFILE)
        self.steps = 0 if is_wanted else LAST_STEP
        self.is_tracing = False

    def step_done(self, loss: Tensor) -> None:
        """Tells of a step, by what the device gives when it has taken it."""
        self.steps += 1
        if self.steps == FIRST_STEP:
            float(loss)
            self._start()
        elif self.steps == LAST_STEP and self.is_tracing:
            float(loss)
            self.close()

    def close(self) -> None:
        """Writes what was traced so far."""
        if not self.is_tracing:
            return
        self.is_tracing = False
        if keras.backend.backend() == "jax":
            import jax

            jax.profiler.stop_trace()
        else:
            import tensorflow as tf

            tf.profiler.experimental.stop()

    def _start(self) -> None:
        self.is_tracing = True
        if keras.backend.backend() == "jax":
            import jax

            jax.profiler.start_trace(self.folder)
        else:
            import tensorflow as tf

            tf.profiler.experimental.start(self.folder)
