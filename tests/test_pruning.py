"""What is left of a pruned model computes what the whole one does without the rest, whichever backend computes it."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from model.bert import BertPretrainer, HeadsAndUnits
from model.config import BertConfig, PruneConfig
from model.heads import metrics_of
from model.importance import draw_random, measure_magnitude, measure_taylor, open_gates
from model.optimization import AdamWeightDecay, Schedule
from model.pruning import choose, closed_gates, prune_config, prune_model, prune_weights
from model.step import train_step
from tokenizer.errors import InputError

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=20,
    max_position_embeddings=12,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
KEPT = [
    HeadsAndUnits(np.array(heads), np.array(units))
    for heads, units in (([0, 2, 3], [1, 2, 5, 19]), ([1], [0]), ([0, 1, 2, 3], list(range(3, 20))))
]


def arrays_of(model):
    return {name: np.asarray(weight) for name, weight in model.named_weights.items()}


@pytest.fixture(scope="module")
def model():
    """A model whose every weight is some random number, as after a training."""
    model = BertPretrainer(CONFIG)
    rng = np.random.default_rng(0)
    for weight in model.named_weights.values():
        weight.assign(0.3 * rng.normal(size=weight.shape))
    return model


def random_batch(batch=5, seq=12, predictions=3, seed=1):
    rng = np.random.default_rng(seed)
    mask = (np.arange(seq) < rng.integers(6, seq + 1, (batch, 1))).astype(np.int32)
    return {
        "input_ids": rng.integers(CONFIG.vocab_size, size=(batch, seq), dtype=np.int32) * mask,
        "input_mask": mask,
        "segment_ids": rng.integers(2, size=(batch, seq), dtype=np.int32) * mask,
        "masked_lm_positions": rng.integers(1, 6, size=(batch, predictions), dtype=np.int32),
        "masked_lm_ids": rng.integers(CONFIG.vocab_size, size=(batch, predictions), dtype=np.int32),
        "masked_lm_weights": np.ones((batch, predictions), np.float32),
        "next_sentence_labels": rng.integers(2, size=(batch, 1), dtype=np.int32),
    }


def loss_of(model):
    return lambda gates, batch: metrics_of(model.sums(batch, gates=gates))["loss"]


def sums_of(model, batch, gates=None):
    return {name: float(value) for name, value in model.sums(batch, gates=gates).items()}


# The model that is left


def check_a_pruned_model_equals_the_whole_one_with_the_rest_at_0(model):
    batch, pruned = random_batch(), prune_model(model, KEPT)
    assert sums_of(pruned, batch) == pytest.approx(sums_of(model, batch, closed_gates(CONFIG, KEPT)), abs=1e-5)
    assert sums_of(pruned, batch)["masked_lm_loss_sum"] != pytest.approx(sums_of(model, batch)["masked_lm_loss_sum"])
    inputs = [batch[name] for name in ("input_ids", "input_mask", "segment_ids")]
    outputs = pruned.encoder(*inputs), model.encoder(*inputs, gates=closed_gates(CONFIG, KEPT))
    for output, expected in zip(*outputs):
        np.testing.assert_allclose(np.asarray(output), np.asarray(expected), atol=1e-6)


def check_taylor_is_the_slope_of_the_loss_along_a_gate(model):
    batches = [random_batch(), random_batch(seed=2)]
    scores = measure_taylor(loss_of(model), model.trainable_variables, CONFIG, batches, num_examples=7)
    expected = [[np.zeros(len(values)) for values in layer] for layer in scores]
    step = 1e-2
    for batch, examples in zip(batches, (5, 2)):
        for i, example in [(1, e) for e in range(examples)]:  # of layer 1, every gate
            for part in (0, 1):
                for place in range(len(expected[i][part])):
                    ends = []
                    for change in (step, -step):
                        gates = open_gates(CONFIG, 5)
                        gates[i][part][example, place] += change
                        ends.append(float(loss_of(model)(gates, batch)))
                    expected[i][part][place] += abs(ends[0] - ends[1]) / (2 * step)
    for values, slopes in zip(scores[1], expected[1]):
        np.testing.assert_allclose(values, slopes / np.linalg.norm(slopes), rtol=2e-2, atol=2e-3)


def test_a_pruned_model_equals_the_whole_one_with_the_rest_at_0(model):
    check_a_pruned_model_equals_the_whole_one_with_the_rest_at_0(model)


def test_taylor_is_the_slope_of_the_loss_along_a_gate(model):
    check_taylor_is_the_slope_of_the_loss_along_a_gate(model)


def test_both_hold_on_jax_too():
    pytest.importorskip("jax", reason="the [jax] extra is not installed")
    code = (
        "import test_pruning as t; model = t.model.__wrapped__() if hasattr(t.model, '__wrapped__') else None;"
        "t.check_a_pruned_model_equals_the_whole_one_with_the_rest_at_0(model);"
        "t.check_taylor_is_the_slope_of_the_loss_along_a_gate(model)"
    )
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
