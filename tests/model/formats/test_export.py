import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from small_dataset import VOCAB_TEXT, write_dataset
from small_training import BERT_CONFIG, TRAIN_CONFIG

from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.formats.export import export, google_name, hugging_face_name
from maskmill.model.formats.model_dir import load_model, open_model_dir
from maskmill.model.pretraining.config import PhaseRequest
from maskmill.model.pretraining.description import describe_training
from maskmill.model.pretraining.phases import Plan
from maskmill.model.training.checkpoint import save_checkpoint
from maskmill.tokenizer.errors import InputError

# The names in a checkpoint of Hugging Face's BertForPreTraining with one layer; the decoder is tied and left out.
LAYER = "bert.encoder.layer.0"
HUGGING_FACE_NAMES = {
    *(f"bert.embeddings.{name}.weight" for name in ("word_embeddings", "position_embeddings", "token_type_embeddings")),
    *(
        f"{name}.{part}"
        for part in ("weight", "bias")
        for name in (
            "bert.embeddings.LayerNorm",
            *(f"{LAYER}.attention.self.{projection}" for projection in ("query", "key", "value")),
            *(f"{LAYER}.attention.output.{part}" for part in ("dense", "LayerNorm")),
            *(f"{LAYER}.{part}" for part in ("intermediate.dense", "output.dense", "output.LayerNorm")),
            "bert.pooler.dense",
            "cls.predictions.transform.dense",
            "cls.predictions.transform.LayerNorm",
            "cls.seq_relationship",
        )
    ),
    "cls.predictions.bias",
}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """The folder of a model, as if after a step of training."""
    folder = tmp_path_factory.mktemp("interop")
    write_dataset(folder / "data", [[8]])
    plan = Plan.load([PhaseRequest(folder / "data", 1)], BERT_CONFIG, TRAIN_CONFIG)
    with open_model_dir(folder / "model", describe_training(plan, BERT_CONFIG, TRAIN_CONFIG, None), VOCAB_TEXT):
        save_checkpoint(folder / "model", 1, BertPretrainer(BERT_CONFIG).named_weights, keep=1)
    return folder / "model"


def test_the_export_has_every_weight_under_hugging_faces_name(model_dir, tmp_path):
    weights = load_file(export(model_dir, tmp_path / "hf") / "model.safetensors")
    assert weights.keys() == HUGGING_FACE_NAMES
    model, _ = load_model(model_dir)
    for name, variable in model.named_weights.items():
        value = np.asarray(variable)
        expected = value.T if name.endswith("/kernel") else value
        np.testing.assert_array_equal(weights[hugging_face_name(name)], expected)


def test_the_export_says_which_gelu_and_which_case(model_dir, tmp_path):
    output = export(model_dir, tmp_path / "hf")
    config = json.loads((output / "config.json").read_text())
    assert config["hidden_act"] == "gelu_new"
    assert config["architectures"] == ["BertForPreTraining"]
    assert config["hidden_size"] == BERT_CONFIG.hidden_size
    assert json.loads((output / "tokenizer_config.json").read_text())["do_lower_case"] is True
    assert (output / "vocab.txt").read_text() == VOCAB_TEXT


def test_a_folder_that_is_not_empty_is_refused(model_dir, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        export(model_dir, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_google_names_differ_for_different_weights(model_dir):
    names = list(load_model(model_dir)[0].named_weights)
    assert len({google_name(name) for name in names}) == len({hugging_face_name(name) for name in names}) == len(names)
