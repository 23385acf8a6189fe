"""What is left of a pruned model computes what the whole one does without the rest, whichever backend computes it."""

import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from places import HELPERS

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer, HeadsAndUnits
from maskmill.model.bert.heads import metrics_of
from maskmill.model.pruning.choice import (
    choose,
    choose_in_rounds,
    closed_gates,
    prune_config,
    prune_model,
    prune_weights,
)
from maskmill.model.pruning.config import PruneConfig
from maskmill.model.pruning.importance import TaylorMeasure, draw_random, measure_magnitude, open_gates
from maskmill.model.tasks.classifier import BertClassifier
from maskmill.model.training.step import compiled
from maskmill.tokenizer.errors import InputError

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=20,
    max_position_embeddings=12,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
KEPT = [HeadsAndUnits(np.array(heads), np.array(units)) for heads, units in (([0, 2, 3], [1, 2, 5, 19]), ([1], [0]))]


def arrays_of(model):
    return {name: np.asarray(weight) for name, weight in model.named_weights.items()}


def new_model():
    """A model whose every weight is some random number, as after a training."""
    model = BertPretrainer(CONFIG)
    rng = np.random.default_rng(0)
    for weight in model.named_weights.values():
        weight.assign(0.3 * rng.normal(size=weight.shape))
    return model


model = pytest.fixture(new_model, scope="module")


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


def call(model, function, *choices):
    """What a function makes of each of some gates.

    Compiled on JAX alone: TensorFlow takes longer to compile than to run once.
    """
    is_jax = keras.backend.backend() == "jax"
    run = compiled(model.trainable_variables, function) if is_jax else function
    return [run(gates) for gates in choices]


def results_of(model, batch, *choices):
    """The sums of a batch and the outputs of the encoder, with each of some gates."""
    inputs = [batch[name] for name in ("input_ids", "input_mask", "segment_ids")]
    results = call(model, lambda gates: (model.sums(batch, gates=gates), model.encoder(*inputs, gates=gates)), *choices)
    return [({name: float(value) for name, value in sums.items()}, outputs) for sums, outputs in results]


def check_a_pruned_model_equals_the_whole_one_with_the_rest_at_0(model):
    batch, choices = random_batch(), [closed_gates(CONFIG, KEPT), open_gates(CONFIG, 1)]
    (expected, expected_outputs), (whole, _) = results_of(model, batch, *choices)
    ((sums, outputs),) = results_of(prune_model(model, KEPT), batch, None)
    assert sums == pytest.approx(expected, rel=1e-6)
    assert whole != pytest.approx(expected, rel=1e-4)
    for output, expected_output in zip(outputs, expected_outputs):
        np.testing.assert_allclose(np.asarray(output), np.asarray(expected_output), atol=1e-6)


def check_taylor_is_the_slope_of_the_loss_along_a_gate(model):
    batches, counted, step = [random_batch(4), random_batch(4, seed=2)], (4, 2), 0.1
    measure = TaylorMeasure(loss_of(model), model.trainable_variables, batches, sum(counted))
    scores = measure(open_gates(CONFIG, 1))
    loss = compiled(model.trainable_variables, loss_of(model))

    def slope(batch, example, part, place):
        ends = []
        for change in (step, -step):
            gates = open_gates(CONFIG, 4)
            gates[1][part][example, place] += change
            ends.append(float(loss(gates, batch)))
        return (ends[0] - ends[1]) / (2 * step)

    for part, places in enumerate([range(4), range(5)]):
        slopes = [
            sum(abs(slope(batch, i, part, place)) for batch, examples in zip(batches, counted) for i in range(examples))
            for place in places
        ]
        np.testing.assert_allclose(scores[1][part][: len(places)], np.array(slopes) / sum(counted), rtol=2e-2)


def check_a_pruned_classifier_equals_the_whole_one_with_the_rest_at_0(model):
    whole = BertClassifier(CONFIG, 3)
    rng = np.random.default_rng(0)
    for name, weight in whole.named_weights.items():
        weight.assign(model.named_weights.get(name, rng.normal(size=weight.shape)))
    features = {name: random_batch()[name] for name in ("input_ids", "input_mask", "segment_ids")}

    def logits_of(model, *choices):
        return [np.asarray(one["logits"]) for one in call(model, lambda gates: model.call(features, gates), *choices)]

    expected, of_all = logits_of(whole, closed_gates(CONFIG, KEPT), open_gates(CONFIG, 1))
    np.testing.assert_allclose(*logits_of(prune_model(whole, KEPT), None), expected, atol=1e-6)
    assert np.abs(of_all - expected).max() > 1e-3


CHECKS = [
    check_a_pruned_classifier_equals_the_whole_one_with_the_rest_at_0,
    check_a_pruned_model_equals_the_whole_one_with_the_rest_at_0,
    check_taylor_is_the_slope_of_the_loss_along_a_gate,
]


def test_a_pruned_model_equals_the_whole_one_with_the_rest_at_0(model):
    check_a_pruned_model_equals_the_whole_one_with_the_rest_at_0(model)


def test_a_pruned_classifier_equals_the_whole_one_with_the_rest_at_0(model):
    check_a_pruned_classifier_equals_the_whole_one_with_the_rest_at_0(model)


def test_taylor_is_the_slope_of_the_loss_along_a_gate(model):
    check_taylor_is_the_slope_of_the_loss_along_a_gate(model)


def test_both_hold_on_jax_too():
    pytest.importorskip("jax", reason="the [jax] extra is not installed")
    code = f"from runpy import run_path; t = run_path({__file__!r}); [check(t['new_model']()) for check in t['CHECKS']]"
    path = os.pathsep.join([str(HELPERS), *sys.path])
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]


def test_gates_that_are_open_change_nothing(model):
    (with_gates, _), (without, _) = results_of(model, random_batch(), open_gates(CONFIG, 1), None)
    assert with_gates == pytest.approx(without, rel=1e-6)


def test_its_weights_are_as_many_as_its_shape_says(model):
    pruned = prune_model(model, KEPT)
    assert pruned.config.num_weights == sum(array.size for array in arrays_of(pruned).values()) < CONFIG.num_weights


def test_pruning_twice_is_pruning_once(model):
    half = [HeadsAndUnits(np.arange(4), np.arange(20)) for _ in KEPT]
    half[0] = HeadsAndUnits(np.array([0, 1, 3]), np.arange(0, 20, 2))
    then = [HeadsAndUnits(np.array([2]), np.array([1, 9])), half[1]]
    once = [HeadsAndUnits(np.array([3]), np.array([2, 18])), half[1]]
    twice = prune_model(prune_model(model, half), then)
    assert twice.config == prune_config(CONFIG, once)
    for name, array in arrays_of(prune_model(model, once)).items():
        np.testing.assert_array_equal(arrays_of(twice)[name], array, err_msg=name)


# What is chosen


def test_the_lowest_heads_of_all_layers_go_and_the_lowest_units_of_each_but_the_best_of_a_layer_stays():
    scores = [
        HeadsAndUnits(np.array([0.9, 0.8, 0.7]), np.array([3.0, 1.0, 2.0, 0.0])),
        HeadsAndUnits(np.array([0.1, 0.2, 0.6]), np.array([0.5, 6.0, 0.1, 0.4])),
    ]

    def chosen(heads, ffn):
        return [[part.tolist() for part in parts] for parts in zip(*choose(scores, heads, ffn))]

    assert chosen(heads=0.5, ffn=0.5) == [[[0, 1], [2]], [[0, 2], [0, 1]]]
    assert chosen(heads=0.99, ffn=0) == [[[0], [2]], [[0, 1, 2, 3], [0, 1, 2, 3]]]
    assert chosen(heads=0, ffn=0.99) == [[[0, 1, 2], [0, 1, 2]], [[0], [1]]]


def test_in_rounds_what_is_left_is_measured_anew_and_what_is_gone_stays_so():
    """Of units 0 and 1 either can do the work of both."""
    config = replace(CONFIG, num_hidden_layers=1, num_attention_heads=2, intermediate_size=4)
    seen = []

    def measure(gates):
        ((heads, units),) = gates
        seen.append((heads.tolist(), units.tolist()))
        of_pair = 1.0 if units[0, :2].all() else 9.0
        return [HeadsAndUnits(np.array([2.0, 1.0]), np.array([of_pair, of_pair, 2.0, 3.0]))]

    def chosen(rounds):
        ((heads, units),) = choose_in_rounds(measure, config, heads=0.5, ffn=0.5, rounds=rounds)
        return heads.tolist(), units.tolist()

    assert chosen(rounds=1) == ([0], [2, 3])
    assert chosen(rounds=2) == ([0], [1, 3])
    assert seen == [([[1, 1]], [[1, 1, 1, 1]]), ([[1, 1]], [[1, 1, 1, 1]]), ([[1, 1]], [[0, 1, 1, 1]])]


def test_magnitude_is_the_norm_of_the_weights_that_pruning_removes(model):
    whole = {name: np.square(array, dtype=np.float64).sum() for name, array in arrays_of(model).items()}
    scores = measure_magnitude(arrays_of(model), CONFIG)

    def removed(part, place):
        kept = [[np.arange(4), np.arange(20)] for _ in KEPT]
        kept[1][part] = np.delete(kept[1][part], place)
        left = prune_weights(arrays_of(model), [HeadsAndUnits(*layer) for layer in kept], CONFIG.head_size)
        return sum(whole[name] - np.square(array, dtype=np.float64).sum() for name, array in left.items())

    for part in (0, 1):
        norms = np.sqrt([removed(part, place) for place in range(len(scores[1][part]))])
        np.testing.assert_allclose(scores[1][part], norms, rtol=1e-6)


def test_chance_is_a_function_of_the_seed():
    first, again, other = (draw_random(CONFIG, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(*pair) for layers in zip(first, again) for pair in zip(*layers))
    assert not np.array_equal(first[0].units, other[0].units)


# The configuration


def test_a_configuration_says_what_each_layer_has(tmp_path):
    config = prune_config(CONFIG, KEPT)
    assert (config.heads, config.units) == ((3, 1), (4, 1))
    (tmp_path / "bert_config.json").write_text(config.to_json())
    assert BertConfig.load(tmp_path, vocab_size=7) == config
    assert "_per_layer" not in CONFIG.to_json()
    alike = CONFIG.with_layers((4, 4), (8, 8))  # which Google's form can say
    assert alike == replace(CONFIG, intermediate_size=8)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"num_attention_heads_per_layer": (1, 0)}, r"\(1, 0\); expected a whole number from 1 to num_attention_heads"),
    ({"num_attention_heads_per_layer": (1, 2, 4)}, "which is 4, for each of 2 layers"),
    ({"intermediate_size_per_layer": (2, 21)}, "a whole number from 1 to intermediate_size, which is 20"),
    ({"intermediate_size_per_layer": 3}, "intermediate_size_per_layer is 3"),
])  # fmt: skip
def test_counts_that_no_layer_can_have_are_refused(change, sentence):
    with pytest.raises(InputError, match=sentence):
        replace(CONFIG, **change)


@pytest.mark.parametrize(("values", "sentence"), [
    ({}, "heads and ffn are both 0"),
    ({"heads": 1.0}, "heads is 1.0; expected a share from 0 to less than 1"),
    ({"ffn": -0.5}, "ffn is -0.5"),
    ({"heads": 0.5, "importance": "best"}, "taylor, magnitude or random"),
    ({"heads": 0.5, "num_examples": 0}, "num_examples is 0"),
    ({"heads": 0.5, "rounds": 0}, "rounds is 0"),
])  # fmt: skip
def test_what_cannot_be_removed_is_refused(values, sentence):
    with pytest.raises(InputError, match=sentence):
        PruneConfig(**values)
