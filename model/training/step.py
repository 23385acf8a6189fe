"""One step of training or evaluation, compiled, on either backend. Nothing here waits for the device."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras
from keras import ops

from maskmill.model.bert.randomness import Key, Tensor, fold_in, key_of
from maskmill.model.training.optimization import AdamWeightDecay

Batch = dict[str, Tensor]  # features by name
Losses = dict[str, Tensor]  # as of `BertPretrainer`: by name, still on the device
Remask = Callable[[Batch, Key], Batch]
TrainStep = Callable[[Batch], Losses]  # takes one step on a batch -> the losses before it
EvalStep = Callable[[Batch], Losses]  # changes nothing

DROPOUT, MASKING = range(2)  # what a step's random numbers are for


class Model(Protocol):
    """What is trained: a loss, and other metrics, that are ratios of sums over the batch."""

    trainable_variables: list[keras.Variable]
    sum_names: tuple[str, ...]

    def __call__(self, features: Batch) -> Losses:
        """What an evaluation of a batch gives."""

    def sums(self, features: Batch, dropout_key: Key | None = None) -> Losses:
        """The sums of a batch, by `sum_names`."""

    def weights_of(self, features: Batch) -> Losses:
        """Those of the sums that others are divided by, which need no weights."""

    def metrics_of(self, sums: Losses) -> Losses:
        """Sums to metrics, among them the `loss` that is trained on."""


def train_step(
    model: Model,
    optimizer: AdamWeightDecay,
    random_seed: int = 12345,
    accumulation_steps: int = 1,
    remask: Remask | None = None,
) -> TrainStep:
    """The compiled training step on the backend in use. After each call the variables have their new values.

    On JAX the new values are written over the old: an array that was a variable's value before the call is deleted.

    With accumulation_steps n a batch is worked on in n parts, one after the other: with a n-th of the memory, the same
    gradients. Dropout and `remask` are functions of `random_seed` and of the optimizer's `global_step`.
    """
    step = _Step(model, optimizer, random_seed, accumulation_steps, remask)
    return _JaxTrainStep(step) if keras.backend.backend() == "jax" else _TensorFlowTrainStep(step)


def eval_step(model: Model) -> EvalStep:
    """The compiled evaluation step on the backend in use: no dropout, nothing changes."""
    return compiled(model.trainable_variables, model)


def compiled(variables: Sequence[keras.Variable], function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors that reads variables and changes none, compiled on the backend in use.

    It is compiled anew for all shapes that its arguments come in, and reads the variables as they are at each call.
    """
    if keras.backend.backend() == "jax":
        import jax

        def run(values, *arguments):
            with keras.StatelessScope([*zip(variables, values)]):
                return function(*arguments)

        step = jax.jit(run)
        return lambda *arguments: step([variable.value for variable in variables], *arguments)

    import tensorflow as tf

    traced = tf.function(lambda *arguments: function(*arguments), autograph=False)
    of_shapes: dict[tuple[tuple[int, ...], ...], Callable[..., Any]] = {}

    def on_tensorflow(*arguments):
        arguments = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        shapes = tuple(tuple(x.shape) for x in tf.nest.flatten(arguments))
        if shapes not in of_shapes:  # asked for by name: else TensorFlow warns of a fifth shape
            of_shapes[shapes] = traced.get_concrete_function(*arguments)
        return of_shapes[shapes](*arguments)

    return on_tensorflow


class _Step:
    """What a training step computes, but for the way to a gradient and to a loop, which is each backend's own."""

    def __init__(
        self,
        model: Model,
        optimizer: AdamWeightDecay,
        random_seed: int,
        accumulation_steps: int,
        remask: Remask | None,
    ):
        self.model = model
        self.optimizer = optimizer
        self.random_seed = random_seed
        self.accumulation_steps = accumulation_steps
        self.remask = remask

    def prepare(self, features: Batch) -> tuple[Batch, Key, dict[str, Tensor]]:
        """The features to train on, the key of this step's dropout, and the weights of the whole batch."""
        global_step = self.optimizer.global_step.value
        root = key_of(self.random_seed)
        if self.remask:
            features = self.remask(features, fold_in(fold_in(root, MASKING), global_step))
        return features, fold_in(fold_in(root, DROPOUT), global_step), self.model.weights_of(features)

    def part(self, features: Batch, i: Tensor) -> Batch:
        """The i-th of `accumulation_steps` parts of a batch: every N-th row, so that each device contributes."""
        parts = self.accumulation_steps
        return {name: ops.take(ops.reshape(x, (-1, parts, x.shape[1])), i, axis=1) for name, x in features.items()}

    def loss_and_sums(self, features: Batch, key: Key, weights: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """What a part adds to the loss of the whole, and its sums.

        The loss is a ratio of sums over the whole batch, so a part is divided by the weights of the whole: the mean of
        the parts' own losses would be another loss.
        """
        sums = self.model.sums(features, key)
        return self.model.metrics_of({**sums, **weights})["loss"], sums


class _TensorFlowTrainStep:
    def __init__(self, step: _Step):
        import tensorflow as tf

        weights = [weight.value for weight in step.optimizer.weights.values()]
        # XLA makes one pass over the weights out of about fifteen.
        apply = tf.function(step.optimizer.apply, jit_compile=True, autograph=False)

        def gradients_of(features: Batch, key: Key, batch_weights: Losses) -> tuple[list[Tensor], Losses]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(weights)
                loss, sums = step.loss_and_sums(features, key, batch_weights)
            # That of the word embeddings comes in two parts, one of them sparse; the clipping needs their sum.
            return [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, weights)], sums

        # On a CPU oneDNN has the better matrix products; what is between them is XLA's (model/bert/fused.py).
        @tf.function(jit_compile=bool(tf.config.list_physical_devices("GPU")), autograph=False)
        def run(features):
            features, key, batch_weights = step.prepare(features)
            if step.accumulation_steps == 1:
                gradients, sums = gradients_of(features, key, batch_weights)
            else:

                def add_part(i, gradients, sums):
                    more = gradients_of(step.part(features, i), fold_in(key, i), batch_weights)
                    return i + 1, *tf.nest.map_structure(tf.add, (gradients, sums), more)

                nothing = (
                    [tf.zeros_like(weight) for weight in weights],
                    dict.fromkeys(step.model.sum_names, tf.constant(0.0)),
                )
                _, gradients, sums = tf.while_loop(
                    lambda i, *_: i < step.accumulation_steps,
                    add_part,
                    (tf.constant(0), *nothing),
                    parallel_iterations=1,  # else several parts would be in memory at once
                )
            apply(gradients)
            return {**step.model.metrics_of(sums), **sums}

        self.run = run

    def __call__(self, features: Batch) -> Losses:
        losses: Losses = self.run(features)
        return losses


class _JaxTrainStep:
    def __init__(self, step: _Step):
        import jax
        import jax.numpy as jnp

        weights = list(step.optimizer.weights.values())
        slots = list(step.optimizer.variables.values())
        self.variables = [weights, slots]

        def gradients_of(
            weight_values: list[Tensor], features: Batch, key: Key, batch_weights: Losses
        ) -> tuple[list[Tensor], Losses]:
            def loss_of(weight_values):
                with keras.StatelessScope([*zip(weights, weight_values)]):
                    return step.loss_and_sums(features, key, batch_weights)

            gradients, sums = jax.grad(loss_of, has_aux=True)(weight_values)
            return gradients, sums

        def run(state, features):
            weight_values, slot_values = state
            with keras.StatelessScope([*zip(weights, weight_values), *zip(slots, slot_values)]) as scope:
                features, key, batch_weights = step.prepare(features)
                if step.accumulation_steps == 1:
                    gradients, sums = gradients_of(weight_values, features, key, batch_weights)
                else:

                    def add_part(i, total):
                        more = gradients_of(weight_values, step.part(features, i), fold_in(key, i), batch_weights)
                        return jax.tree.map(jnp.add, total, more)

                    nothing = (
                        [jnp.zeros_like(value) for value in weight_values],
                        dict.fromkeys(step.model.sum_names, jnp.zeros(())),
                    )
                    gradients, sums = jax.lax.fori_loop(0, step.accumulation_steps, add_part, nothing)
                step.optimizer.apply(gradients)
                state = [[scope.get_current_value(v) for v in variables] for variables in self.variables]
            return state, {**step.model.metrics_of(sums), **sums}

        for variable in (*weights, *slots):
            # A copy, as nothing else may share the memory that a step writes to; one by one, so that it takes little.
            # And with its sharding, as the step gives it, or it would be compiled again.
            variable.assign(jax.device_put(ops.copy(variable.value), variable.value.sharding))
        # On several devices the new state is a copy on each, as the old one is; XLA might choose to divide it.
        shardings = jax.tree.map(lambda value: value.sharding, self.state)
        self.run = jax.jit(run, donate_argnums=0, out_shardings=(shardings, None))

    @property
    def state(self) -> list[list[Tensor]]:
        """The values of weights and slots, which the variables alone hold: 12 bytes a weight."""
        return [[variable.value for variable in variables] for variables in self.variables]

    def __call__(self, features: Batch) -> Losses:
        losses: Losses
        state, losses = self.run(self.state, features)
        for variables, values in zip(self.variables, state):
            for variable, value in zip(variables, values):
                variable.assign(value)  # no copy
        return losses
