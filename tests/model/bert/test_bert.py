import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from places import GOLDEN, TESTS

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.heads import IS_RIGHT
from maskmill.model.bert.randomness import key_of
from maskmill.model.formats.export import google_name
from maskmill.model.training.optimization import AdamWeightDecay, Schedule
from maskmill.model.training.step import train_step

TRAINING = GOLDEN / "google_tiny_training.npz"
CONFIG = BertConfig(
    vocab_size=500,
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=128,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    max_position_embeddings=64,
)


@pytest.fixture(scope="module")
def golden():
    with np.load(TRAINING) as arrays:
        return dict(arrays)


def batch(golden, i):
    return {name.split("/")[1]: array for name, array in golden.items() if name.startswith(f"batch{i}/")}


def google_weights(golden, when, model):
    weights = {name: golden[f"{when}/{google_name(name)}"] for name in model.named_weights}
    return weights | {"next_sentence/kernel": weights["next_sentence/kernel"].T}


def compiled(function):
    """For JAX, which else would compile every operation for itself."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


@pytest.fixture
def model(golden):
    model = BertPretrainer(CONFIG)
    for name, value in google_weights(golden, "init", model).items():
        model.named_weights[name].assign(value)
    return model


def test_every_weight_of_google_is_one_of_ours(golden, model):
    names = {name.removeprefix("init/") for name in golden if name.startswith("init/")}
    assert {google_name(name) for name in model.named_weights} == names


@pytest.mark.parametrize("setting", ["float16", "float64"])
def test_weights_are_float32_whatever_the_users_keras_is_set_to(setting):
    before = keras.config.floatx()
    keras.config.set_floatx(setting)
    try:
        model = BertPretrainer(CONFIG)
        optimizer = AdamWeightDecay(model.named_weights, Schedule(1e-4, 10, 1))
    finally:
        keras.config.set_floatx(before)
    dtypes = {weight.dtype for weight in [*model.named_weights.values(), *optimizer.m.values(), *optimizer.v.values()]}
    assert dtypes == {"float32"}


def test_outputs_before_training_equal_googles(golden, model):
    features = batch(golden, 0)
    outputs = compiled(model.encoder)(features["input_ids"], features["input_mask"], features["segment_ids"])
    for output, name in zip(outputs, ("sequence_output", "pooled_output")):
        np.testing.assert_allclose(np.asarray(output), golden[f"forward/{name}"], atol=1e-5)
    losses = compiled(model)(features)
    for name in ("masked_lm_loss", "next_sentence_loss"):
        assert float(losses[name]) == pytest.approx(golden[f"forward/{name}"], abs=1e-5)


def test_chosen_positions_have_the_hidden_states_of_the_whole(golden, model):
    features = batch(golden, 0)
    inputs = [features[name] for name in ("input_ids", "input_mask", "segment_ids")]
    positions = features["masked_lm_positions"]
    (sequence, pooled), (chosen, chosen_pooled) = model.encoder(*inputs), model.encoder(*inputs, positions)
    expected = np.take_along_axis(np.asarray(sequence), positions[:, :, None], axis=1)
    np.testing.assert_allclose(chosen, expected, atol=1e-6)
    np.testing.assert_allclose(chosen_pooled, pooled, atol=1e-6)


def test_every_layer_is_given_when_asked_for(golden, model):
    features = batch(golden, 0)
    inputs = [features[name] for name in ("input_ids", "input_mask", "segment_ids")]
    hidden_states, attention_probs = model.encoder.all_layers(*inputs)
    assert len(hidden_states) == CONFIG.num_hidden_layers + 1
    assert len(attention_probs) == CONFIG.num_hidden_layers
    np.testing.assert_allclose(hidden_states[-1], golden["forward/sequence_output"], atol=1e-5)
    to_padding = 1 - features["input_mask"][:, None, None, :]
    for probs in map(np.asarray, attention_probs):
        assert probs.shape == (8, CONFIG.num_attention_heads, 32, 32)
        np.testing.assert_allclose(probs.sum(axis=-1), 1, atol=1e-5)
        assert not (probs * to_padding).any()


def test_six_steps_of_training_equal_googles(golden, model):
    step = train_step(
        model, AdamWeightDecay(model.named_weights, Schedule(1e-3, num_train_steps=20, num_warmup_steps=3))
    )
    for i in range(6):
        losses = step(batch(golden, i))
        for name in ("masked_lm_loss", "next_sentence_loss"):
            assert float(losses[name]) == pytest.approx(golden[f"step{i}/{name}"], abs=1e-5)
    for name, value in google_weights(golden, "final", model).items():
        np.testing.assert_allclose(np.asarray(model.named_weights[name]), value, atol=1e-5, err_msg=name)


def test_padding_changes_no_output(golden, model):
    features = batch(golden, 0)
    shorter = {name: features[name][:1, :20] for name in ("input_ids", "segment_ids")}
    longer = {name: np.pad(array, ((0, 0), (0, 12))) for name, array in shorter.items()}
    mask = np.pad(np.ones((1, 20), np.int32), ((0, 0), (0, 12)))
    sequence, pooled = model.encoder(shorter["input_ids"], np.ones((1, 20), np.int32), shorter["segment_ids"])
    padded_sequence, padded_pooled = model.encoder(longer["input_ids"], mask, longer["segment_ids"])
    np.testing.assert_allclose(padded_sequence[:, :20], sequence, atol=1e-6)
    np.testing.assert_allclose(padded_pooled, pooled, atol=1e-6)


def test_rows_of_zeros_change_no_loss(golden, model):
    features = batch(golden, 0)
    padded = {name: np.pad(array, ((0, 3), (0, 0))) for name, array in features.items()}
    losses, padded_losses = dict(model(features)), dict(model(padded))
    is_right, padded_is_right = (np.asarray(each.pop(IS_RIGHT)) for each in (losses, padded_losses))
    np.testing.assert_array_equal(padded_is_right[: len(is_right)], is_right)
    for name, loss in losses.items():
        assert float(padded_losses[name]) == pytest.approx(float(loss), abs=1e-6)


def test_weights_and_dropout_are_a_function_of_the_seed(golden):
    config = BertConfig(**{**vars(CONFIG), "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1})
    features = batch(golden, 0)
    a, b, other = (float(BertPretrainer(config, seed)(features, key_of(7))["loss"]) for seed in (1, 1, 2))
    assert a == b != other
    assert a != float(BertPretrainer(config, 1)(features, key_of(8))["loss"])


def test_no_two_weights_start_alike():
    kernels = [np.asarray(w) for name, w in BertPretrainer(CONFIG).named_weights.items() if name.endswith("kernel")]
    first = [kernel[0, 0] for kernel in kernels]
    assert len(set(first)) == len(first)


def test_first_weights_are_a_truncated_normal_and_biases_zero():
    weights = {name: np.asarray(weight) for name, weight in BertPretrainer(CONFIG).named_weights.items()}
    for name, weight in weights.items():
        if weight.ndim == 2:
            assert np.abs(weight).max() <= 0.04, name  # two deviations of 0.02, the initializer_range
        elif name.endswith("bias"):
            assert not weight.any(), name
    values = np.concatenate([weight.ravel() for weight in weights.values() if weight.ndim == 2]) / 0.02
    assert len(values) > 50_000
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(0.8796, abs=0.01)  # of a normal distribution cut off at two deviations


@pytest.mark.parametrize("rate", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_acts_where_a_key_is_given_only(golden, rate):
    model = BertPretrainer(BertConfig(**{**vars(CONFIG), rate: 0.5}))
    features = batch(golden, 0)
    first, second = (float(model(features)["loss"]) for _ in range(2))
    trained, trained_again = (float(model(features, key_of(seed))["loss"]) for seed in (1, 2))
    assert first == second != trained != trained_again


def test_all_layers_are_those_that_the_output_is_made_of(golden, model):
    features = batch(golden, 0)
    inputs = [features[name] for name in ("input_ids", "input_mask", "segment_ids")]
    hidden_states, probs = model.encoder.all_layers(*inputs)
    assert len(hidden_states) == CONFIG.num_hidden_layers + 1
    assert len(probs) == CONFIG.num_hidden_layers
    np.testing.assert_allclose(hidden_states[-1], golden["forward/sequence_output"], atol=1e-5)
    batch_size, seq = features["input_ids"].shape
    assert all(p.shape == (batch_size, CONFIG.num_attention_heads, seq, seq) for p in probs)
    for p in probs:
        np.testing.assert_allclose(np.asarray(p).sum(axis=-1), 1, atol=1e-5)
        assert np.asarray(p)[np.broadcast_to(features["input_mask"][:, None, None] == 0, p.shape)].max(initial=0) < 1e-6


def test_parts_of_a_batch_add_up_to_the_gradients_of_the_whole(golden):
    features = batch(golden, 0)
    features["masked_lm_weights"] = features["masked_lm_weights"].copy()
    features["masked_lm_weights"][::2, 1:] = 0  # parts of unequal weight: a mean of their losses would be wrong
    one_layer = BertConfig(**{**vars(CONFIG), "num_hidden_layers": 1, "initializer_range": 0.1})
    results = []
    for parts in (1, 2):
        model = BertPretrainer(one_layer)
        optimizer = AdamWeightDecay(model.named_weights, Schedule(1e-3, num_train_steps=20, num_warmup_steps=0))
        step = train_step(model, optimizer, accumulation_steps=parts)
        losses = {name: float(loss) for name, loss in step(features).items()}
        results.append((losses, {name: np.asarray(m) for name, m in optimizer.m.items()}))
    (losses, gradients), (part_losses, part_gradients) = results
    assert part_losses == pytest.approx(losses, rel=1e-5)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(part_gradients[name], gradient, atol=1e-6, err_msg=name)


def products_and_exponentials(model, features):
    """The dtypes of all matrix products of a forward and backward pass as it is compiled, and of all exponentials.

    On JAX a product in float32 must ask for all of its bits, and one in bfloat16 for nothing.
    """
    optimizer = AdamWeightDecay(model.named_weights, Schedule(1e-3, num_train_steps=20, num_warmup_steps=3))
    step = train_step(model, optimizer)
    if keras.backend.backend() == "jax":
        text = str(step.run.trace(step.state, features).jaxpr)
        names = {"bf16": "bfloat16", "f32": "float32"}
        highest = r"= dot_general\[\s+dimension_numbers=.*\s+(precision=\(Precision.HIGHEST, Precision.HIGHEST\))?"
        asks = re.findall(rf":(\w+)\[[\d,]*\] {highest}", text)
        assert {bool(precision) for dtype, precision in asks if dtype == "f32"} == {True}
        assert {bool(precision) for dtype, precision in asks if dtype != "f32"} <= {False}
        return tuple(
            [names[t] for t in re.findall(rf":(\w+)\[[\d,]*\] = {op}", text)] for op in ("dot_general", "exp ")
        )
    import tensorflow as tf

    graph = step.run.get_concrete_function(features).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return tuple(
        [tf.as_dtype(node.attr["T"].type).name for node in nodes if node.op in operations]
        for operations in (("MatMul", "BatchMatMulV2"), ("Exp", "Softmax"))
    )


def test_bfloat16_is_what_the_products_are_computed_in_and_nothing_else(golden):
    features = batch(golden, 0)
    mixed = BertPretrainer(CONFIG, compute_dtype="bfloat16")
    products, exponentials = products_and_exponentials(mixed, features)
    assert products.count("bfloat16") > 30
    assert products.count("float32") <= 3  # the segment embeddings, forward, again, and backward
    assert set(exponentials) == {"float32"}  # softmax and loss
    products, _ = products_and_exponentials(BertPretrainer(CONFIG), features)
    assert set(products) == {"float32"}
    assert {weight.dtype for weight in mixed.trainable_variables} == {"float32"}
    sequence, pooled = compiled(mixed.encoder)(features["input_ids"], features["input_mask"], features["segment_ids"])
    assert {keras.backend.standardize_dtype(x.dtype) for x in (sequence, pooled)} == {"bfloat16"}
    losses = compiled(mixed)(features)
    assert {keras.backend.standardize_dtype(x.dtype) for x in losses.values()} == {"float32"}
    exact = compiled(BertPretrainer(CONFIG))(features)
    assert float(losses["loss"]) != float(exact["loss"])
    assert float(losses["loss"]) == pytest.approx(float(exact["loss"]), rel=0.01)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="runs on JAX already")
def test_parity_and_exact_resume_hold_on_jax():
    pytest.importorskip("jax", reason="the [jax] extra is not installed")
    tests = [__file__, str(TESTS / "model" / "pretraining" / "test_train.py")]
    command = [sys.executable, "-m", "pytest", *tests, "-k", "googles or killed or parts or bfloat16_is"]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:]
    assert "5 passed" in run.stdout
