"""The names of our weights in Google's TF1 checkpoints and in Hugging Face's `BertForPreTraining`, and the export."""

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from maskmill.model.bert.config import HUGGING_FACE_CONFIG, BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.formats.keras_file import save_keras_file
from maskmill.model.formats.model_dir import WhichCheckpoint, load_model, read_training, read_vocab
from maskmill.pipeline.dataset.schema import VOCAB
from maskmill.pipeline.storage.storage import require_empty, write_bytes, write_text

logger = logging.getLogger(__name__)

# Ours -> Google's, the first that matches at the start; the rest of the name stays.
_GOOGLE_NAMES = {
    r"bert/(layer_\d+)/(query|key|value)/": r"bert/encoder/\1/attention/self/\2/",
    r"bert/(layer_\d+)/attention_output/": r"bert/encoder/\1/attention/output/dense/",
    r"bert/(layer_\d+)/attention_layer_norm/": r"bert/encoder/\1/attention/output/LayerNorm/",
    r"bert/(layer_\d+)/intermediate/": r"bert/encoder/\1/intermediate/dense/",
    r"bert/(layer_\d+)/output/": r"bert/encoder/\1/output/dense/",
    r"bert/(layer_\d+)/output_layer_norm/": r"bert/encoder/\1/output/LayerNorm/",
    r"bert/embeddings/layer_norm/": r"bert/embeddings/LayerNorm/",
    r"bert/pooler/": r"bert/pooler/dense/",
    r"masked_lm/transform/": r"cls/predictions/transform/dense/",
    r"masked_lm/layer_norm/": r"cls/predictions/transform/LayerNorm/",
    r"masked_lm/": r"cls/predictions/",
    r"next_sentence/kernel": r"cls/seq_relationship/output_weights",  # transposed there
    r"next_sentence/bias": r"cls/seq_relationship/output_bias",
}


def weight_names(num_hidden_layers: int) -> list[str]:
    """The names of all weights of a `BertPretrainer`."""
    layers = [f"bert/layer_{i}" for i in range(num_hidden_layers)]
    projections = ("query", "key", "value", "attention_output", "intermediate", "output")
    denses = [f"{layer}/{name}" for layer in layers for name in projections]
    denses += ["bert/pooler", "masked_lm/transform", "next_sentence"]
    norms = [f"{layer}/{name}" for layer in layers for name in ("attention_layer_norm", "output_layer_norm")]
    norms += ["bert/embeddings/layer_norm", "masked_lm/layer_norm"]
    return [
        *(f"bert/embeddings/{kind}_embeddings" for kind in ("word", "token_type", "position")),
        *(f"{dense}/{part}" for dense in denses for part in ("kernel", "bias")),
        *(f"{norm}/{part}" for norm in norms for part in ("gamma", "beta")),
        "masked_lm/output_bias",
    ]


def google_name(name: str) -> str:
    """The name of a weight in Google's TF1 checkpoints.

    >>> google_name("bert/layer_0/query/kernel")
    'bert/encoder/layer_0/attention/self/query/kernel'
    """
    for ours, google in _GOOGLE_NAMES.items():
        if re.match(ours, name):
            return re.sub(ours, google, name)
    return name


def hugging_face_name(name: str) -> str:
    """The name of a weight in Hugging Face's `BertForPreTraining`, where kernels are transposed.

    >>> hugging_face_name("bert/layer_0/query/kernel")
    'bert.encoder.layer.0.attention.self.query.weight'
    """
    name = google_name(name).replace("/", ".").replace("layer_", "layer.")
    name = re.sub(r"seq_relationship\.output_(weights|bias)", r"seq_relationship.\1", name)
    name = name.replace("predictions.output_bias", "predictions.bias")
    name = re.sub(r"\.(kernel|gamma|weights)$|(?<=_embeddings)$", ".weight", name)
    return re.sub(r"\.beta$", ".bias", name)


def export(
    model_dir: str | os.PathLike[str], output_dir: str | os.PathLike[str], checkpoint: WhichCheckpoint = "newest"
) -> Path:
    """Writes a trained model as a folder that `transformers` loads, with a file that Keras loads -> the folder.

    Holds config.json, model.safetensors (float32), vocab.txt, tokenizer_config.json and model.keras (float32); of a
    model whose layers were pruned unlike each other the first two are left out, which is said. Raises InputError when
    `output_dir` is not empty.
    """
    output = Path(output_dir)
    require_empty(output)
    training = read_training(Path(model_dir))
    read_vocab(Path(model_dir))
    model, _ = load_model(model_dir, checkpoint)
    output.mkdir(parents=True, exist_ok=True)
    config = {
        **model.config.to_dict(),
        "architectures": ["BertForPreTraining"],
        "model_type": "bert",
        "hidden_act": "gelu_new",  # there, "gelu" is the erf form
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }
    tokenizer_config = {
        # It takes tokenizer.json as it is. BertTokenizer makes one anew, with [UNK] for words of 101 to 200 characters.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "do_lower_case": not training["cased"],
        "model_max_length": model.config.max_position_embeddings,
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        **{f"{token.lower()}_token": f"[{token}]" for token in ("PAD", "UNK", "CLS", "SEP", "MASK")},
    }
    _write_json(output / "tokenizer_config.json", tokenizer_config)
    shutil.copyfile(Path(model_dir) / VOCAB, output / VOCAB)
    save_keras_file(model, output / "model.keras")
    if reason := why_not_hugging_face(model.config):
        logger.warning("%s; so %s and model.safetensors are left out", reason, HUGGING_FACE_CONFIG)
        return output
    _write_json(output / HUGGING_FACE_CONFIG, config)
    # The file names the framework whose layout it has; transformers looks for that.
    weights = save(hugging_face_weights(model), metadata={"format": "pt"})
    write_bytes(output / "model.safetensors", weights)
    return output


def why_not_hugging_face(config: BertConfig) -> str | None:
    """Why the `config.json` of Hugging Face's BERT cannot say the shape of a pruned model; None where it can.

    transformers has left out its own `pruned_heads` since version 5.
    """
    if config.num_attention_heads_per_layer:
        return (
            f"the layers have {', '.join(map(str, config.heads))} heads of {config.head_size}, and Hugging Face's BERT "
            f"has in each layer as many heads as make up hidden_size, which is {config.hidden_size}"
        )
    if config.intermediate_size_per_layer:
        return (
            f"the layers have {', '.join(map(str, config.units))} feed-forward units, and Hugging Face's BERT has one "
            "intermediate_size for all"
        )
    return None


def hugging_face_weights(model: BertPretrainer) -> dict[str, np.ndarray]:
    """The weights under Hugging Face's names and in its layout: kernels [out, in]."""
    weights = {}
    for name, variable in model.named_weights.items():
        value = np.asarray(variable)
        weights[hugging_face_name(name)] = np.ascontiguousarray(value.T) if name.endswith("/kernel") else value
    return weights


def _write_json(path: Path, values: dict[str, Any]) -> None:
    write_text(path, json.dumps(values, indent=2, sort_keys=True) + "\n")
