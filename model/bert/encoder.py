"""BERT as Google's `modeling.py` computes it, in Keras ops that run on TensorFlow and on JAX.

Shapes are written with batch, seq (max_seq_length), hidden, heads, and size (of a head: hidden / heads).
"""

from collections.abc import Sequence
from itertools import zip_longest
from random import Random
from typing import Any, NamedTuple

import keras
from keras import ops

from maskmill.model.bert.config import BertConfig, ComputeDtype
from maskmill.model.bert.fused import add_norm, attention_probs, bias_gelu, bias_tanh, embed, merge_heads, split_heads
from maskmill.model.bert.heads import IS_RIGHT, SUMS, MaskedLMHead, NextSentenceHead, metrics_of, weights_of
from maskmill.model.bert.layers import Dense, LayerNorm, Part, gather, initializer, multiply
from maskmill.model.bert.products import product
from maskmill.model.bert.randomness import Key, Tensor, fold_in


class HeadsAndUnits(NamedTuple):
    """Something for each attention head of a layer, and for each of its feed-forward units."""

    heads: Any
    units: Any


# Of each layer, what the output of every head and unit is multiplied with: float32 [batch, heads] and [batch, units],
# where batch may be 1. With all at 1 nothing changes, 0 removes, and the gradient tells what one matters for.
Gates = Sequence[HeadsAndUnits]


class BertPretrainer(keras.Model):
    """BERT with both pre-training heads: the features of a batch -> its losses.

    Its parts are `encoder`, `masked_lm` and `next_sentence`. Initial weights are a function of `random_seed` (on one
    backend). Weights are float32; the products and the activations between them have the `compute_dtype`, while
    softmax, normalisation and losses are computed in float32.
    """

    # What `maskmill.model.training.step` needs to know of the heads.
    sum_names = SUMS
    weights_of = staticmethod(weights_of)
    metrics_of = staticmethod(metrics_of)

    def __init__(self, config: BertConfig, random_seed: int = 12345, compute_dtype: ComputeDtype = "float32"):
        super().__init__(name="pretrainer", autocast=False)
        self.config = config
        seeds = Random(random_seed)
        self.encoder = BertEncoder(config, seeds, compute_dtype)
        self.masked_lm = MaskedLMHead(config, seeds)
        self.next_sentence = NextSentenceHead(config, seeds)
        self.built = True  # every weight was made above

    def of_shape(self, config: BertConfig, compute_dtype: ComputeDtype = "float32") -> "BertPretrainer":
        """A new model of the same kind."""
        return BertPretrainer(config, compute_dtype=compute_dtype)

    def call(
        self, features: dict[str, Tensor], dropout_key: Key | None = None, gates: Gates | None = None
    ) -> dict[str, Tensor]:
        """Features named and shaped as in the records, int32 and float32 -> float32 scalars by name.

        `loss`, `masked_lm_loss`, `next_sentence_loss`, `masked_lm_accuracy`, `next_sentence_accuracy`: means over the
        batch; and the six `heads.SUMS` they are made of. Also `masked_lm_is_right`, float32 [batch, predictions]: 1
        where the masked token is predicted. Dropout needs a key, see `model/bert/randomness.py`; without one nothing is
        dropped.
        """
        sums, is_right = self._predict(features, dropout_key, gates)
        return {**metrics_of(sums), **sums, IS_RIGHT: is_right}

    def sums(
        self, features: dict[str, Tensor], dropout_key: Key | None = None, gates: Gates | None = None
    ) -> dict[str, Tensor]:
        """The `heads.SUMS` of a batch, given what `call` is given."""
        return self._predict(features, dropout_key, gates)[0]

    def _predict(
        self, features: dict[str, Tensor], dropout_key: Key | None, gates: Gates | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The sums of a batch, and which of its masked tokens are predicted."""
        hidden_states, pooled_output = self.encoder(
            features["input_ids"],
            features["input_mask"],
            features["segment_ids"],
            features["masked_lm_positions"],
            dropout_key=dropout_key,
            gates=gates,
        )
        masked_lm, is_right = self.masked_lm.sums(
            hidden_states,
            self.encoder.embeddings.word_embeddings,
            features["masked_lm_ids"],
            features["masked_lm_weights"],
        )
        sums = {
            **masked_lm,
            **self.next_sentence.sums(pooled_output, features["next_sentence_labels"], features["input_mask"]),
            **weights_of(features),
        }
        return sums, is_right

    def masked_lm_logits(self, hidden_states: Tensor) -> Tensor:
        """Of the encoder's [batch, n, hidden] -> the scores of every token at each position, [batch, n, vocab]."""
        return self.masked_lm(hidden_states, self.encoder.embeddings.word_embeddings)

    @property
    def named_weights(self) -> dict[str, keras.Variable]:
        """The trained weights by name, such as `bert/layer_0/query/kernel`."""
        return {weight.path: weight for weight in self.trainable_variables}


class BertEncoder(Part):
    """Token ids -> a hidden state for every token, and one for the pair."""

    def __init__(self, config: BertConfig, seeds: Random, compute_dtype: ComputeDtype = "float32"):
        super().__init__("bert")
        with self.named():
            self.embeddings = Embeddings(config, seeds, compute_dtype)
            self.transformer = [TransformerLayer(config, seeds, i) for i in range(config.num_hidden_layers)]
            self.pooler = Dense(config.hidden_size, config.hidden_size, config, seeds, "pooler")

    def call(
        self,
        input_ids: Tensor,
        input_mask: Tensor,
        segment_ids: Tensor,
        positions: Tensor | None = None,
        dropout_key: Key | None = None,
        gates: Gates | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Three times int32 [batch, seq] -> sequence_output [batch, seq, hidden], pooled_output [batch, hidden].

        Given int32 positions [batch, n], the first output is [batch, n, hidden]: the hidden states at those alone.
        """
        first_key, *keys = _split(dropout_key, 1 + len(self.transformer))
        x = self.embeddings(input_ids, segment_ids, first_key)
        *layers, (last_layer, last_key, last_gates) = zip_longest(self.transformer, keys, gates or ())
        for layer, key, of_layer in layers:
            x = layer(x, input_mask, key, gates=of_layer)
        if positions is None:
            x = last_layer(x, input_mask, last_key, gates=last_gates)
            return x, self.pool(x)
        # Nobody reads what the last layer makes of the others: without them a two-layer model trains a sixth faster.
        positions = ops.pad(positions, ((0, 0), (1, 0)))  # [CLS] first, for the pooler
        x = last_layer(x, input_mask, last_key, positions, last_gates)
        return x[:, 1:], self.pool(x)

    def pool(self, x: Tensor) -> Tensor:
        """Of [batch, n, hidden], `[CLS]` first -> [batch, hidden]."""
        return bias_tanh(self.pooler(x[:, 0]), self.pooler.bias)

    def hidden_states(
        self, input_ids: Tensor, input_mask: Tensor, segment_ids: Tensor, num_layers: int | None = None
    ) -> list[Tensor]:
        """Of three times int32 [batch, seq] -> the embeddings and what each of the first `num_layers` makes of them.

        Without dropout: num_layers + 1 times [batch, seq, hidden]; unless given, of all layers.
        """
        states = [self.embeddings(input_ids, segment_ids)]
        for layer in self.transformer[:num_layers]:
            states.append(layer(states[-1], input_mask))
        return states

    def all_layers(
        self, input_ids: Tensor, input_mask: Tensor, segment_ids: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """What every layer sees and does, without dropout.

        Of three times int32 [batch, seq] -> hidden states, num_hidden_layers + 1 times [batch, seq, hidden] (the first
        are the embeddings), and attention probabilities, num_hidden_layers times [batch, heads, from_seq, to_seq].
        """
        hidden_states = self.hidden_states(input_ids, input_mask, segment_ids)
        probs = [layer.attend(x, input_mask)[1] for layer, x in zip(self.transformer, hidden_states)]
        return tuple(hidden_states), tuple(probs)


class Embeddings(Part):
    """The sum of word, segment and position embeddings, normalised."""

    def __init__(self, config: BertConfig, seeds: Random, compute_dtype: ComputeDtype):
        super().__init__("embeddings")
        self.rate = config.hidden_dropout_prob
        self.output_dtype = compute_dtype
        rows = {
            "word_embeddings": config.vocab_size,
            "token_type_embeddings": config.type_vocab_size,
            "position_embeddings": config.max_position_embeddings,
        }
        self.word_embeddings, self.token_type_embeddings, self.position_embeddings = (
            self.add_weight(shape=(count, config.hidden_size), initializer=initializer(config, seeds), name=name)
            for name, count in rows.items()
        )
        with self.named():
            self.layer_norm = LayerNorm(config.hidden_size, "layer_norm")

    def call(self, input_ids: Tensor, segment_ids: Tensor, key: Key | None = None) -> Tensor:
        """Twice int32 [batch, seq] -> [batch, seq, hidden]."""
        # In float32: the gradient adds up the rows of a token, hundreds of them for [MASK].
        words = ops.take(self.word_embeddings, input_ids, axis=0)
        tables = self.token_type_embeddings, self.position_embeddings
        scale = self.layer_norm.gamma, self.layer_norm.beta
        return embed(words, *tables, *scale, segment_ids=segment_ids, key=key, rate=self.rate, dtype=self.output_dtype)


class TransformerLayer(Part):
    """Self-attention and a feed-forward part; each is added to its input, then normalised (post-LN)."""

    def __init__(self, config: BertConfig, seeds: Random, number: int):
        super().__init__(f"layer_{number}")
        hidden, intermediate = config.hidden_size, config.units[number]
        self.heads = config.heads[number]
        width = self.heads * config.head_size  # less than hidden where heads were pruned
        self.rate, self.attention_rate = config.hidden_dropout_prob, config.attention_probs_dropout_prob
        with self.named():
            self.query, self.key, self.value = (
                Dense(hidden, width, config, seeds, name) for name in ("query", "key", "value")
            )
            self.attention_output = Dense(width, hidden, config, seeds, "attention_output")
            self.attention_layer_norm = LayerNorm(hidden, "attention_layer_norm")
            self.intermediate = Dense(hidden, intermediate, config, seeds, "intermediate")
            self.feed_forward_output = Dense(intermediate, hidden, config, seeds, "output")
            self.output_layer_norm = LayerNorm(hidden, "output_layer_norm")

    def call(
        self,
        x: Tensor,
        input_mask: Tensor,
        key: Key | None = None,
        positions: Tensor | None = None,
        gates: HeadsAndUnits | None = None,
    ) -> Tensor:
        """Of [batch, seq, hidden] and int32 [batch, seq] -> [batch, seq, hidden].

        Given int32 positions [batch, n]: the result at those alone, [batch, n, hidden].
        """
        attention_key, attended_key, output_key = _split(key, 3)
        attended, _ = self.attend(x, input_mask, attention_key, positions)
        if gates is not None:
            attended = _gated(attended, ops.repeat(gates.heads, attended.shape[-1] // self.heads, axis=1))
        x = x if positions is None else gather(x, positions)
        x = self.add(x, attended, self.attention_output, self.attention_layer_norm, attended_key)
        y = bias_gelu(self.intermediate(x), self.intermediate.bias)
        if gates is not None:
            y = _gated(y, gates.units)
        return self.add(x, y, self.feed_forward_output, self.output_layer_norm, output_key)

    def attend(
        self, x: Tensor, input_mask: Tensor, key: Key | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Multi-head self-attention of [batch, seq, hidden], at all positions or at int32 [batch, n] of them.

        Returns [batch, n, heads * size], and the probabilities [batch, heads, n, seq].
        """
        if positions is None:
            q, k, v = self.project(x, self.query, self.key, self.value)  # [batch, heads, seq, size]
        else:
            (q,) = self.project(gather(x, positions), self.query)
            k, v = self.project(x, self.key, self.value)
        scores = product(q, ops.transpose(k, (0, 1, 3, 2)))  # [batch, heads, n, seq]
        size = q.shape[-1]
        probs = attention_probs(scores, size=size, input_mask=input_mask, key=key, rate=self.attention_rate)
        return merge_heads(product(probs, v)), probs

    def project(self, x: Tensor, *projections: Dense) -> list[Tensor]:
        """Several projections of [batch, seq, hidden] in one product -> [batch, heads, seq, size] each."""
        # They stay several weights, as in Google's files.
        kernel = ops.concatenate([projection.kernel for projection in projections], axis=1)
        bias = ops.concatenate([projection.bias for projection in projections])
        heads: list[Tensor] = split_heads(multiply(x, kernel), bias, parts=len(projections), heads=self.heads)
        return heads

    def add(self, x: Tensor, y: Tensor, dense: Dense, layer_norm: LayerNorm, key: Key | None) -> Tensor:
        """The residual connection: x [batch, n, hidden] and a projection of y, added and normalised."""
        return add_norm(x, dense(y), dense.bias, layer_norm.gamma, layer_norm.beta, key=key, rate=self.rate)


def _gated(x: Tensor, gates: Tensor) -> Tensor:
    """Of [batch, n, width] and float32 [batch, width] -> their product, [batch, n, width]."""
    # In float32: the gradient of a gate is a sum over all positions.
    return ops.cast(ops.cast(x, "float32") * gates[:, None], x.dtype)


def _split(key: Key | None, parts: int) -> list[Key | None]:
    """A key for each of several uses, or for none."""
    return [None if key is None else fold_in(key, i) for i in range(parts)]
