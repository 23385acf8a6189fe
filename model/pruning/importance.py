"""How much each attention head and each feed-forward unit of a BERT matters, by three measures.

The scores of all heads can be compared, and those of all units; a head's and a unit's cannot.
"""

from collections.abc import Callable, Iterable, Sequence

import keras
import numpy as np

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import Gates, HeadsAndUnits
from maskmill.model.bert.randomness import Tensor
from maskmill.model.training.checkpoint import NamedArrays
from maskmill.model.training.step import Batch, compiled

Loss = Callable[[Gates, Batch], Tensor]  # of a batch, whose examples have gates of their own: a scalar
Scores = list[HeadsAndUnits]  # of each layer float64 [heads] and [units]; what matters more has more


class TaylorMeasure:
    """How much the loss would change if a part were left out, to first order: |d loss / d gate|, a mean over examples.

    The gate multiplies the part's output, so its derivative is that output times the gradient there, summed over the
    positions of an example (Molchanov et al. 2019, of a head Michel et al. 2019). Michel et al. divide a layer's scores
    by their norm; without that, what is left has the lower loss (benchmarks/README.md).
    """

    def __init__(
        self, loss: Loss, variables: Sequence[keras.Variable], batches: Iterable[Batch], num_examples: int
    ) -> None:
        """`variables` are those that the loss reads; the batches are of one size."""
        self._gradients_of = compiled(variables, _gradient_by_gates(loss))
        self._batches = iter(batches)
        self._num_examples = num_examples

    def __call__(self, gates: Sequence[HeadsAndUnits]) -> Scores:
        """The scores by the next `num_examples` examples, with these gates: float32 [1, heads] and [1, units]."""
        totals = [HeadsAndUnits(*(np.zeros(gate.shape[1]) for gate in layer)) for layer in gates]
        left = self._num_examples
        while left > 0:
            batch = next(self._batches)
            size = len(next(iter(batch.values())))
            of_examples = [HeadsAndUnits(*(np.repeat(gate, size, axis=0) for gate in layer)) for layer in gates]
            for total, of_layer in zip(totals, self._gradients_of(of_examples, batch)):
                for sums, gradient in zip(total, of_layer):
                    sums += np.abs(np.asarray(gradient, np.float64)[:left]).sum(axis=0)
            left -= size
        return [HeadsAndUnits(*(sums / self._num_examples for sums in total)) for total in totals]


def measure_magnitude(weights: NamedArrays, config: BertConfig) -> Scores:
    """The norm of all weights that only this part uses."""
    scores = []
    for i, heads in enumerate(config.heads):
        layer = f"bert/layer_{i}"
        of_heads = [weights[f"{layer}/{name}/kernel"] for name in ("query", "key", "value")]  # [hidden, heads * size]
        of_heads += [weights[f"{layer}/{name}/bias"][None] for name in ("query", "key", "value")]
        of_heads += [weights[f"{layer}/attention_output/kernel"].T]
        of_units = [weights[f"{layer}/intermediate/kernel"], weights[f"{layer}/intermediate/bias"][None]]
        of_units += [weights[f"{layer}/output/kernel"].T]
        columns, units = (
            np.square(np.concatenate(kernels), dtype=np.float64).sum(axis=0) for kernels in (of_heads, of_units)
        )
        scores.append(HeadsAndUnits(np.sqrt(columns.reshape(heads, -1).sum(axis=1)), np.sqrt(units)))
    return scores


def draw_random(config: BertConfig, rng: np.random.Generator) -> Scores:
    """Chance: what every measure must do better than."""
    return [HeadsAndUnits(rng.random(heads), rng.random(units)) for heads, units in zip(config.heads, config.units)]


def open_gates(config: BertConfig, batch_size: int) -> list[HeadsAndUnits]:
    """Gates that change nothing, float32 [batch, heads] and [batch, units] of each layer."""
    return [
        HeadsAndUnits(np.ones((batch_size, heads), np.float32), np.ones((batch_size, units), np.float32))
        for heads, units in zip(config.heads, config.units)
    ]


def _gradient_by_gates(loss: Loss) -> Callable[[Gates, Batch], Gates]:
    if keras.backend.backend() == "jax":
        import jax

        gradient: Callable[[Gates, Batch], Gates] = jax.grad(loss)
        return gradient
    import tensorflow as tf

    def taped(gates: Gates, batch: Batch) -> Gates:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(gates)
            total = loss(gates, batch)
        gradients: Gates = tape.gradient(total, gates)
        return gradients

    return taped
