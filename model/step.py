"""One step of training or evaluation, compiled, on either backend. Nothing here waits for the device."""

from collections.abc import Callable
from typing import Protocol

import keras

from model.bert import BertPretrainer
from model.layers import Tensor
from model.optimization import AdamWeightDecay

Batch = dict[str, Tensor]  # features by name
Losses = dict[str, Tensor]  # as of `BertPretrainer`: scalars by name, still on the device


class TrainStep(Protocol):
    """Trains on one batch after the other."""

    def __call__(self, features: Batch) -> Losses:
        """Takes one step -> the losses before it."""

    def sync(self) -> None:
        """Brings the variables of model and optimizer up to date; until then they may lag behind."""


def train_step(model: BertPretrainer, optimizer: AdamWeightDecay) -> TrainStep:
    """The compiled training step on the backend in use."""
    if keras.backend.backend() == "jax":
        return _JaxTrainStep(model, optimizer)
    return _TensorFlowTrainStep(model, optimizer)


def eval_step(model: BertPretrainer) -> Callable[[Batch], Losses]:
    """The compiled evaluation step on the backend in use: no dropout, nothing changes."""
    if keras.backend.backend() == "jax":
        import jax

        values = [[v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables]]
        step = jax.jit(lambda values, features: model.stateless_call(*values, features, training=False)[0])
        return lambda features: step(values, features)

    import tensorflow as tf

    compiled: Callable[[Batch], Losses] = tf.function(lambda features: model(features, training=False), autograph=False)
    return compiled


class _TensorFlowTrainStep:
    def __init__(self, model: BertPretrainer, optimizer: AdamWeightDecay):
        import tensorflow as tf

        weights = [weight.value for weight in optimizer.weights.values()]
        # XLA makes one pass over the weights out of about fifteen. The model itself is faster without it on a CPU,
        # where oneDNN has the better matrix products.
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        apply = tf.function(optimizer.apply, jit_compile=True, autograph=False)

        @tf.function(jit_compile=has_gpu, autograph=False)
        def step(features):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                losses = model(features, training=True)
            # The gradient of the word embeddings comes in two parts, one of them sparse; the clipping needs their sum.
            apply([tf.convert_to_tensor(gradient) for gradient in tape.gradient(losses["loss"], weights)])
            return losses

        self.step = step

    def __call__(self, features: Batch) -> Losses:
        losses: Losses = self.step(features)
        return losses

    def sync(self) -> None:
        pass


class _JaxTrainStep:
    def __init__(self, model: BertPretrainer, optimizer: AdamWeightDecay):
        import jax

        weights = list(optimizer.weights.values())
        slots = list(optimizer.variables.values())
        self.variables = [weights, model.non_trainable_variables, slots]

        def losses_of(weight_values, seeds, features):
            losses, seeds = model.stateless_call(weight_values, seeds, features, training=True)
            return losses["loss"], (losses, seeds)

        def step(state, features):
            weight_values, seeds, slot_values = state
            gradients_of = jax.value_and_grad(losses_of, has_aux=True)
            (_, (losses, seeds)), gradients = gradients_of(weight_values, seeds, features)
            with keras.StatelessScope([*zip(weights, weight_values), *zip(slots, slot_values)]) as scope:
                optimizer.apply(gradients)
            weight_values, slot_values = ([scope.get_current_value(v) for v in vs] for vs in (weights, slots))
            return [weight_values, seeds, slot_values], losses

        self.step = jax.jit(step, donate_argnums=0)
        self.state = self._copied([[v.value for v in variables] for variables in self.variables])

    def __call__(self, features: Batch) -> Losses:
        losses: Losses
        self.state, losses = self.step(self.state, features)
        return losses

    def sync(self) -> None:
        for variables, values in zip(self.variables, self._copied(self.state)):
            for variable, value in zip(variables, values):
                variable.assign(value)

    def _copied(self, state: list[list[Tensor]]) -> list[list[Tensor]]:
        # A step writes the new state over the old one, so the variables may not share its memory.
        return [[keras.ops.copy(value) for value in values] for values in state]
