"""A BERT as one Keras file, made of Keras's own layers: `keras.saving.load_model` opens it without maskmill."""

import os
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.training.checkpoint import NamedArrays

INPUTS = ("input_ids", "input_mask", "segment_ids")


def save_keras_file(model: BertPretrainer, path: str | os.PathLike[str]) -> None:
    """Writes the model as a `.keras` file, float32.

    The model in it takes int32 [batch, seq] of any length up to max_position_embeddings, by name: `input_ids`,
    `input_mask`, `segment_ids`; and gives float32 `sequence_output` [batch, seq, hidden], `pooled_output`
    [batch, hidden], `masked_lm_logits` [batch, seq, vocab] and `next_sentence_logits` [batch, 2].
    """
    weights = {name: np.asarray(weight, np.float32) for name, weight in model.named_weights.items()}
    portable = portable_model(model.config)
    for name, values in _weights_by_layer(weights, model.config).items():
        portable.get_layer(name).set_weights(values)
    portable.save(Path(path))


def portable_model(config: BertConfig) -> keras.Model:
    """The model described above, with new weights. Its layers are named as ours, with dots: `layer_0.intermediate`."""
    input_ids, input_mask, segment_ids = (keras.Input([None], dtype="int32", name=name) for name in INPUTS)
    hidden = config.hidden_size

    def dense(units: int, name: str, activation: str | None = None) -> layers.Dense:
        return layers.Dense(units, activation, dtype="float32", name=name)

    def layer_norm(name: str) -> layers.LayerNormalization:
        return layers.LayerNormalization(epsilon=1e-12, dtype="float32", name=name)

    def gelu(x: keras.KerasTensor) -> keras.KerasTensor:
        return ops.gelu(x, approximate=True)  # the tanh form

    def embedding(rows: int, name: str) -> layers.Embedding:
        return layers.Embedding(rows, hidden, dtype="float32", name=name)

    def dropout(name: str) -> layers.Dropout:
        return layers.Dropout(config.hidden_dropout_prob, dtype="float32", name=name)

    # The one layer of Keras that gives scores by its own rows.
    words = layers.ReversibleEmbedding(config.vocab_size, hidden, dtype="float32", name="word_embeddings")
    places = ops.cumsum(ops.ones_like(input_ids), axis=1) - 1
    x = words(input_ids)
    x += embedding(config.type_vocab_size, "token_type_embeddings")(segment_ids)
    x += embedding(config.max_position_embeddings, "position_embeddings")(places)
    x = dropout("embeddings.dropout")(layer_norm("embeddings.layer_norm")(x))
    attention_mask = ops.cast(ops.expand_dims(input_mask, 1), "bool")  # [batch, 1, seq]

    for i, (heads, units) in enumerate(zip(config.heads, config.units)):
        attention = layers.MultiHeadAttention(
            heads,
            config.head_size,
            dropout=config.attention_probs_dropout_prob,
            dtype="float32",
            name=f"layer_{i}.attention",
        )
        y = attention(x, x, attention_mask=attention_mask)
        y = dropout(f"layer_{i}.attention_dropout")(y)
        x = layer_norm(f"layer_{i}.attention_layer_norm")(x + y)
        y = gelu(dense(units, f"layer_{i}.intermediate")(x))
        y = dropout(f"layer_{i}.output_dropout")(dense(hidden, f"layer_{i}.output")(y))
        x = layer_norm(f"layer_{i}.output_layer_norm")(x + y)

    pooled = dense(hidden, "pooler", "tanh")(x[:, 0])
    transformed = layer_norm("masked_lm.layer_norm")(gelu(dense(hidden, "masked_lm.transform")(x)))
    # Keras has no layer that is a bias alone; a table of one row is one.
    bias = layers.Embedding(1, config.vocab_size, dtype="float32", name="masked_lm.output_bias")
    outputs = {
        "sequence_output": x,
        "pooled_output": pooled,
        "masked_lm_logits": words(transformed, reverse=True) + bias(ops.zeros_like(input_ids[:, :1])),
        "next_sentence_logits": dense(2, "next_sentence")(pooled),
    }
    return keras.Model(dict(zip(INPUTS, (input_ids, input_mask, segment_ids))), outputs, name="bert")


def _weights_by_layer(weights: NamedArrays, config: BertConfig) -> dict[str, list[np.ndarray]]:
    """The weights of each layer of `portable_model`, in the order and shapes of Keras, from ours by name."""
    by_layer = {
        f"{kind}_embeddings": [weights[f"bert/embeddings/{kind}_embeddings"]]
        for kind in ("word", "token_type", "position")
    }
    by_layer["masked_lm.output_bias"] = [weights["masked_lm/output_bias"][None]]
    for first, second in (("kernel", "bias"), ("gamma", "beta")):
        for name in weights:
            if name.endswith(f"/{first}"):
                layer = name.removesuffix(f"/{first}")
                by_layer[layer.removeprefix("bert/").replace("/", ".")] = [weights[name], weights[f"{layer}/{second}"]]
    for i, heads in enumerate(config.heads):
        by_head = (heads, config.head_size)
        projections = [by_layer.pop(f"layer_{i}.{name}") for name in ("query", "key", "value")]
        kernel, bias = by_layer.pop(f"layer_{i}.attention_output")
        by_layer[f"layer_{i}.attention"] = [
            *(array.reshape(*array.shape[:-1], *by_head) for projection in projections for array in projection),
            kernel.reshape(*by_head, config.hidden_size),
            bias,
        ]
    return by_layer
