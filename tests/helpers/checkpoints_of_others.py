"""Checkpoints of small models: ours, Google's and Hugging Face's."""

import json
from functools import cache

import numpy as np
import pytest
from places import GOLDEN
from safetensors.numpy import save_file

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.training.checkpoint import save_checkpoint

GOOGLE = GOLDEN / "google_tiny_checkpoint"


CONFIG = BertConfig(
    vocab_size=12,
    hidden_size=8,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=12,
)


TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "##f", "g"]


@pytest.fixture(scope="module")
def source():
    """A model whose every weight is some random number, as after a training."""
    model = BertPretrainer(CONFIG, random_seed=1)
    rng = np.random.default_rng(0)
    for weight in model.named_weights.values():
        weight.assign(rng.normal(size=weight.shape))
    return model


def arrays_of(model):
    return {name: np.asarray(weight).copy() for name, weight in model.named_weights.items()}


@cache
def new_model(config):
    """A model, and its initial weights; made once, since Keras takes its time."""
    model = BertPretrainer(config, random_seed=2)
    return model, arrays_of(model)


def write_hugging_face(folder, arrays, tokens=TOKENS, **config):
    """A Hugging Face folder with these weights under its names."""
    folder.mkdir(exist_ok=True)
    values = {**vars(CONFIG), "model_type": "bert", "hidden_act": "gelu_new", "layer_norm_eps": 1e-12, **config}
    (folder / "config.json").write_text(json.dumps(values))
    save_file(arrays, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    return folder


def write_ours(folder, model, steps=(3,), tokens=TOKENS):
    """A model folder of ours whose last checkpoint holds the model, and those before it a new one."""
    folder.mkdir()
    training = {
        "backend": "tensorflow",
        "bert_config": vars(model.config),
        "train_config": {},
        "phases": [],
        "vocab_sha256": "",
        "cased": False,
        "init_checkpoint": None,
    }
    (folder / "training.json").write_text(json.dumps(training))
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    for step in steps:
        state = model.named_weights if step == max(steps) else new_model(model.config)[1]
        save_checkpoint(folder, step, state, keep=9, numbers={"masked_lm_weight": 1.0})
    return folder
