import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.formats.keras_file import INPUTS, save_keras_file

CONFIG = BertConfig(
    vocab_size=50,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=20,
)

# Opens the file without anything of maskmill, and keeps what it gives.
OPEN = """
import sys, keras, numpy
*_, path, inputs, outputs = sys.argv
model = keras.saving.load_model(path)
assert not {"model", "tokenizer"} & set(sys.modules)
given = {name: keras.ops.convert_to_numpy(x) for name, x in model(dict(numpy.load(inputs))).items()}
numpy.savez(outputs, **given)
"""


@pytest.fixture(scope="module")
def model():
    """A model whose every weight is some random number, as after a training."""
    model = BertPretrainer(CONFIG)
    rng = np.random.default_rng(0)
    for weight in model.named_weights.values():
        weight.assign(0.3 * rng.normal(size=weight.shape))
    return model


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    save_keras_file(model, path)
    return path


def random_batch(batch=3, seq=13):
    rng = np.random.default_rng(1)
    lengths = np.array([seq, 7, 1])[:batch, None]
    mask = (np.arange(seq) < lengths).astype(np.int32)
    return {
        "input_ids": rng.integers(CONFIG.vocab_size, size=(batch, seq), dtype=np.int32) * mask,
        "input_mask": mask,
        "segment_ids": rng.integers(2, size=(batch, seq), dtype=np.int32) * mask,
    }


def outputs_of(model, batch):
    hidden_states, pooled_output = model.encoder(*(batch[name] for name in INPUTS))
    kernel, bias = (model.named_weights[f"next_sentence/{part}"] for part in ("kernel", "bias"))
    outputs = {
        "sequence_output": hidden_states,
        "pooled_output": pooled_output,
        "masked_lm_logits": model.masked_lm_logits(hidden_states),
        "next_sentence_logits": keras.ops.matmul(pooled_output, kernel) + bias,
    }
    return {name: keras.ops.convert_to_numpy(output) for name, output in outputs.items()}


def assert_close(outputs, expected):
    assert outputs.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(outputs[name], expected[name], atol=1e-5, err_msg=name)


def test_keras_alone_opens_the_file_and_gives_equal_outputs_on_another_backend_too(model, path, tmp_path):
    backend = "jax" if find_spec("jax") else "tensorflow"
    batch = random_batch()
    np.savez(tmp_path / "inputs.npz", **batch)
    command = [sys.executable, "-P", "-c", OPEN, path, tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        command, cwd=tmp_path, env={**environment, "KERAS_BACKEND": backend}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-4000:]
    with np.load(tmp_path / "outputs.npz") as outputs:
        assert_close(dict(outputs), outputs_of(model, batch))


def test_any_length_fits(model, path):
    opened = keras.saving.load_model(path)
    for batch, seq in ((1, 2), (2, CONFIG.max_position_embeddings)):
        features = random_batch(batch, seq)
        outputs = {name: keras.ops.convert_to_numpy(x) for name, x in opened(features).items()}
        assert_close(outputs, outputs_of(model, features))


def test_every_weight_is_in_the_file_and_none_else(model, path):
    opened = keras.saving.load_model(path)
    assert opened.count_params() == sum(int(np.prod(weight.shape)) for weight in model.named_weights.values())


def test_the_opened_model_can_be_trained_further_with_dropout(path):
    opened = keras.saving.load_model(path)
    labels = np.array([0, 1, 1])
    classifier = keras.Model(opened.inputs, keras.layers.Dense(2)(opened.output["pooled_output"]))
    classifier.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = opened.get_layer("word_embeddings").get_weights()[0]
    batch = random_batch()
    classifier.fit([batch[name] for name in INPUTS], labels, verbose=0)
    assert not np.array_equal(before, opened.get_layer("word_embeddings").get_weights()[0])
    names = {layer.name for layer in opened.layers if isinstance(layer, keras.layers.Dropout) and layer.rate == 0.1}
    assert names == {
        "embeddings.dropout",
        *(f"layer_{i}.{name}" for i in range(2) for name in ("attention_dropout", "output_dropout")),
    }
    assert opened.get_layer("layer_0.attention").get_config()["dropout"] == CONFIG.attention_probs_dropout_prob


def test_the_file_does_not_depend_on_the_policy_of_the_process(model, path, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        save_keras_file(model, tmp_path / "model.keras")
    finally:
        keras.config.set_dtype_policy("float32")
    opened = keras.saving.load_model(tmp_path / "model.keras")
    batch = random_batch()
    outputs = {name: keras.ops.convert_to_numpy(x) for name, x in opened(batch).items()}
    assert_close(outputs, outputs_of(model, batch))
