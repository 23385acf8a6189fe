"""A model folder as `train` leaves it, with random weights: for what uses a trained model."""

import hashlib
import json

import numpy as np

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.training.checkpoint import save_checkpoint

POSITIONS = 32
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def make_model(vocab, compute_dtype="float32", **config):
    """A model whose every weight, biases and normalisations too, is some number of a usual size."""
    shape = {**SHAPE, "max_position_embeddings": POSITIONS, **config}
    model = BertPretrainer(BertConfig(vocab_size=len(vocab), **shape), random_seed=3, compute_dtype=compute_dtype)
    rng = np.random.default_rng(0)
    for weight in model.named_weights.values():
        weight.assign(np.asarray(weight) + rng.normal(scale=0.05, size=weight.shape))
    return model


def write_model(folder, vocab, cased=False, **config):
    """The folder, and the model that it holds."""
    model = make_model(vocab, **config)
    folder.mkdir()
    (folder / "vocab.txt").write_text(vocab.to_text())
    training = {
        "backend": "tensorflow",
        "bert_config": vars(model.config),
        "train_config": {},
        "phases": [],
        "vocab_sha256": hashlib.sha256((folder / "vocab.txt").read_bytes()).hexdigest(),
        "cased": cased,
        "init_checkpoint": None,
    }
    (folder / "training.json").write_text(json.dumps(training))
    save_checkpoint(folder, 3, model.named_weights, keep=1, numbers={"masked_lm_weight": 1.0})
    return folder, model
