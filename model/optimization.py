"""Google's optimizers and schedule: `optimization.py` of google-research/bert, `lamb_optimizer.py` of its albert."""

import re
from dataclasses import dataclass

import keras
from keras import ops

from model.randomness import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-6
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up to `learning_rate`, then linear decay to 0 at `num_train_steps`.

    The decay counts from step 0, not from the end of the warm-up, so the rate drops a little where the two meet.
    """

    learning_rate: float
    num_train_steps: int
    num_warmup_steps: int

    def at(self, step: Tensor) -> Tensor:
        """The learning rate at a step, a float32 scalar."""
        step = ops.cast(step, "float32")
        warming_up = self.learning_rate * step / max(self.num_warmup_steps, 1)
        decaying = self.learning_rate * (1.0 - ops.minimum(step, self.num_train_steps) / self.num_train_steps)
        return ops.where(step < self.num_warmup_steps, warming_up, decaying)


def clip_by_global_norm(gradients: list[Tensor], clip_norm: float) -> list[Tensor]:
    """All gradients scaled by one factor, such that together they are no longer than `clip_norm`."""
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
    return [gradient * (clip_norm / ops.maximum(norm, clip_norm)) for gradient in gradients]


class AdamWeightDecay:
    """Adam without bias correction; the weight decay is not part of the gradient, and spares LayerNorm and biases.

    With `layer_adaptation` it is LAMB, for large batches: each weight matrix moves by the learning rate times its own
    norm, however long its update is; LayerNorm and biases move as with Adam. Source: You et al. 2019, and the settings
    of ALBERT's code. Neither corrects the bias of the first steps, where the warm-up keeps them short.

    `weights` maps names to variables; `variables` are the optimizer's own, by name: `global_step` (int32, steps done)
    and for each weight the means `<name>/adam_m` and `<name>/adam_v`, named as in Google's checkpoints.
    """

    def __init__(
        self,
        weights: dict[str, keras.Variable],
        schedule: Schedule,
        weight_decay_rate: float = 0.01,
        layer_adaptation: bool = False,
    ):
        self.weights = weights
        self.schedule = schedule
        self.weight_decay_rate = weight_decay_rate
        self.layer_adaptation = layer_adaptation
        self.global_step = keras.Variable(0, dtype="int32", trainable=False, name="global_step")
        self.m = {name: _zeros_like(weight, "adam_m") for name, weight in weights.items()}
        self.v = {name: _zeros_like(weight, "adam_v") for name, weight in weights.items()}

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """All state of the optimizer by name."""
        slots = {f"{name}/adam_m": m for name, m in self.m.items()} | {
            f"{name}/adam_v": v for name, v in self.v.items()
        }
        return {"global_step": self.global_step, **slots}

    def apply(self, gradients: list[Tensor]) -> None:
        """Assigns new weights, given the gradients in the order of `weights`."""
        # Google's graph reads global_step after it has counted this step (its golden run shows it): the first step
        # trains at 1 / num_warmup_steps of the peak, the last at 0.
        step = self.global_step + 1
        learning_rate = self.schedule.at(step)
        for name, gradient in zip(self.weights, clip_by_global_norm(gradients, CLIP_NORM)):
            weight = self.weights[name]
            m = BETA_1 * self.m[name] + (1.0 - BETA_1) * gradient
            v = BETA_2 * self.v[name] + (1.0 - BETA_2) * ops.square(gradient)
            update = m / (ops.sqrt(v) + EPSILON)
            if not re.search("layer_norm|bias", name):
                update += self.weight_decay_rate * weight
                if self.layer_adaptation:
                    update *= _trust_ratio(weight, update)
            self.m[name].assign(m)
            self.v[name].assign(v)
            weight.assign(weight - learning_rate * update)
        self.global_step.assign(step)


def _trust_ratio(weight: Tensor, update: Tensor) -> Tensor:
    """What makes an update as long as its weight; 1 where either is nothing."""
    weight_norm, update_norm = (ops.sqrt(ops.sum(ops.square(x))) for x in (weight, update))
    return ops.where((weight_norm > 0) & (update_norm > 0), weight_norm / ops.maximum(update_norm, 1e-30), 1.0)


def _zeros_like(weight: keras.Variable, name: str) -> keras.Variable:
    return keras.Variable("zeros", weight.shape, weight.dtype, trainable=False, name=name)
