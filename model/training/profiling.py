"""A trace of a few steps: what the processor or the device did when, for TensorBoard's profile page."""

from pathlib import Path

import keras

from maskmill.model.bert.randomness import Tensor
from maskmill.tokenizer.errors import InputError, first_line

PROFILE = "profile"
WARM_UP_STEPS, TRACED_STEPS = 3, 3  # the first ones compile


class Profiler:
    """Traces TRACED_STEPS steps, after WARM_UP_STEPS, into `profile` in the model folder, when wanted.

    With fewer `steps` to take than that, it warms up for fewer, then traces fewer.
    """

    def __init__(self, model_dir: Path, is_wanted: bool, steps: int):
        self.folder = str(model_dir / PROFILE)
        self.first = max(0, min(WARM_UP_STEPS, steps - TRACED_STEPS))  # steps done when the trace begins
        self.last = min(self.first + TRACED_STEPS, steps)
        self.steps = 0 if is_wanted else self.last
        self.is_tracing = False

    def step_begins(self) -> None:
        """Tells that the next step is about to be taken, and those before it are done."""
        if self.steps == self.first < self.last:
            self._start()

    def step_done(self, loss: Tensor) -> None:
        """Tells of a step, by what the device gives when it has taken it."""
        self.steps += 1
        if self.steps in (self.first, self.last):
            float(loss)
        if self.steps == self.last:
            self.close()

    def close(self) -> None:
        """Writes what was traced so far."""
        if not self.is_tracing:
            return
        self.is_tracing = False
        try:
            _stop()
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{self.folder} cannot be written ({first_line(error)})",
                way_out="make room, or train without --profile",
            ) from error

    def _start(self) -> None:
        self.is_tracing = True
        if keras.backend.backend() == "jax":
            import jax

            jax.profiler.start_trace(self.folder)
        else:
            import tensorflow as tf

            tf.profiler.experimental.start(self.folder)


def _stop() -> None:
    """Ends the trace, and writes it. Raises OSError or RuntimeError when it cannot be written."""
    if keras.backend.backend() == "jax":
        import jax

        jax.profiler.stop_trace()
        return
    import tensorflow as tf

    try:
        tf.profiler.experimental.stop()
    except tf.errors.OpError as error:  # "resource exhausted", which is also what a want of memory is called
        raise OSError(error.message) from error
