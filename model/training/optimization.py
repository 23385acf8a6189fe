"""Google's optimizers and schedule: `optimization.py` of google-research/bert, `lamb_optimizer.py` of its albert."""

import re
from dataclasses import dataclass

import keras
from keras import ops

from maskmill.model.bert.randomness import Tensor

BETA_1, EPSILON = 0.9, 1e-6


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up to `learning_rate`, then linear decay to 0 at `num_train_steps`.

    In Google's code the decay counts from step 0, not from the end of the warm-up, so the rate drops a little where the
    two meet. In transformers (`get_linear_schedule_with_warmup`) it counts from there.
    """

    learning_rate: float
    num_train_steps: int
    num_warmup_steps: int
    decays_from_warmup: bool = False

    def at(self, step: Tensor) -> Tensor:
        """The learning rate at a step, a float32 scalar."""
        step = ops.cast(step, "float32")
        warming_up = self.learning_rate * step / max(self.num_warmup_steps, 1)
        first = min(self.num_warmup_steps, self.num_train_steps - 1) if self.decays_from_warmup else 0
        steps = self.num_train_steps - first
        decaying = self.learning_rate * (1.0 - (ops.minimum(step, self.num_train_steps) - first) / steps)
        return ops.where(step < self.num_warmup_steps, warming_up, decaying)


def clip_by_global_norm(gradients: list[Tensor], clip_norm: float) -> list[Tensor]:
    """All gradients scaled by one factor, such that together they are no longer than `clip_norm`."""
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
    return [gradient * (clip_norm / ops.maximum(norm, clip_norm)) for gradient in gradients]


@dataclass(frozen=True)
class AdamSettings:
    """How weights are updated. The defaults are those of Google's `AdamWeightDecayOptimizer`."""

    weight_decay_rate: float = 0.01
    beta_2: float = 0.999
    clip_norm: float = 1.0  # the largest norm of all gradients together
    layer_adaptation: bool = False  # LAMB: each weight matrix moves by the learning rate times its own norm
    bias_correction: bool = False  # of both means, as in Kingma and Ba 2015


class AdamWeightDecay:
    """Adam with decoupled weight decay, which spares LayerNorm and biases.

    Google's optimizer does not correct the bias of the means. So its updates are longer than those of Adam: 3.2 times
    at the first step, 6.6 times at step 12, twice at step 288. With `bias_correction` they are Adam's.

    With `layer_adaptation` it is LAMB, for large batches: each weight matrix moves by the learning rate times its own
    norm, however long its update is; LayerNorm and biases move as with Adam. Source: You et al. 2019, and the settings
    of ALBERT's code. A step without a gradient for a matrix, as for the pooler of a dataset without pairs, leaves it as
    it is: an update by weight decay alone would be made as long as any other, and shrink the matrix to nothing. Without
    `layer_adaptation` such a matrix decays, as in Google's code, by learning_rate * weight_decay_rate of itself.

    `weights` maps names to variables; `variables` are the optimizer's own, by name: `global_step` (int32, steps done)
    and for each weight the means `<name>/adam_m` and `<name>/adam_v`, named as in Google's checkpoints.
    """

    def __init__(self, weights: dict[str, keras.Variable], schedule: Schedule, settings: AdamSettings = AdamSettings()):
        self.weights = weights
        self.schedule = schedule
        self.settings = settings
        self.global_step = keras.Variable(0, dtype="int32", trainable=False, name="global_step")
        self.m = {name: _zeros_like(weight, "adam_m") for name, weight in weights.items()}
        self.v = {name: _zeros_like(weight, "adam_v") for name, weight in weights.items()}

    @property
    def state(self) -> dict[str, keras.Variable]:
        """All that the next step depends on, by name: the weights, and the variables of the optimizer.

        What dropout and dynamic masking draw is a function of seed and global_step, so they have no state.
        """
        return {**self.weights, **self.variables}

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """All that the optimizer itself keeps, by name."""
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
        settings = self.settings
        m_scale, v_scale = _bias_corrections(step, settings.beta_2) if settings.bias_correction else (1.0, 1.0)
        for name, gradient in zip(self.weights, clip_by_global_norm(gradients, settings.clip_norm)):
            weight = self.weights[name]
            m = BETA_1 * self.m[name] + (1.0 - BETA_1) * gradient
            v = settings.beta_2 * self.v[name] + (1.0 - settings.beta_2) * ops.square(gradient)
            update = m * m_scale / (ops.sqrt(v * v_scale) + EPSILON)
            if not re.search("layer_norm|bias", name):
                update += settings.weight_decay_rate * weight
                if settings.layer_adaptation:
                    update *= _trust_ratio(weight, update, gradient)
            self.m[name].assign(m)
            self.v[name].assign(v)
            weight.assign(weight - learning_rate * update)
        self.global_step.assign(step)


def _bias_corrections(step: Tensor, beta_2: float) -> tuple[Tensor, Tensor]:
    """What makes means that began at 0 those of the gradients so far, at a step counted from 1."""
    step = ops.cast(step, "float32")
    return 1.0 / (1.0 - BETA_1**step), 1.0 / (1.0 - beta_2**step)


def _trust_ratio(weight: Tensor, update: Tensor, gradient: Tensor) -> Tensor:
    """What makes an update as long as its weight: 1 where either norm is 0, and 0 where the whole gradient is 0."""
    weight_norm, update_norm = (ops.sqrt(ops.sum(ops.square(x))) for x in (weight, update))
    ratio = ops.where((weight_norm > 0) & (update_norm > 0), weight_norm / ops.maximum(update_norm, 1e-30), 1.0)
    return ops.where(ops.any(gradient != 0), ratio, 0.0)


def _zeros_like(weight: keras.Variable, name: str) -> keras.Variable:
    return keras.Variable("zeros", weight.shape, weight.dtype, trainable=False, name=name)
