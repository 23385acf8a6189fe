"""BERT as Google's `modeling.py` computes it, in Keras ops that run on TensorFlow and on JAX.

Shapes are written with batch, seq (max_seq_length), hidden, heads, and size (of a head: hidden / heads).
"""

from random import Random
from typing import Any

import keras
from keras import ops

from model.config import BertConfig
from model.heads import MaskedLMHead, masked_lm_sums, metrics_of, next_sentence_sums
from model.layers import Tensor, dense, dropout, gather, gelu, initializer, layer_norm


class BertPretrainer(keras.Model):
    """BERT with both pre-training heads: the features of a batch -> its losses.

    Its parts are `encoder`, `masked_lm` and `next_sentence`. Initial weights and dropout are a function of
    `random_seed` (on one backend).
    """

    def __init__(self, config: BertConfig, random_seed: int = 12345):
        super().__init__(name="pretrainer")
        self.config = config
        seeds = Random(random_seed)
        self.encoder = BertEncoder(config, seeds)
        self.masked_lm = MaskedLMHead(config, seeds)
        self.next_sentence = dense(2, config, seeds, "next_sentence")
        tokens, predictions = (keras.Input(batch_shape=(1, length), dtype="int32") for length in (8, 2))
        self(  # on symbols, which makes the weights
            {
                "input_ids": tokens,
                "input_mask": tokens,
                "segment_ids": tokens,
                "masked_lm_positions": predictions,
                "masked_lm_ids": predictions,
                "masked_lm_weights": keras.Input(batch_shape=(1, 2), dtype="float32"),
                "next_sentence_labels": keras.Input(batch_shape=(1, 1), dtype="int32"),
            }
        )

    def call(self, features: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Features named and shaped as in the records, int32 and float32 -> float32 scalars by name.

        `loss`, `masked_lm_loss`, `next_sentence_loss`, `masked_lm_accuracy`, `next_sentence_accuracy`: means over the
        batch; and the six `heads.SUMS` they are made of.
        """
        hidden_states, pooled_output = self.encoder(
            features["input_ids"],
            features["input_mask"],
            features["segment_ids"],
            features["masked_lm_positions"],
            training=training,
        )
        masked_lm_logits = self.masked_lm_logits(hidden_states)
        next_sentence_logits = self.next_sentence(pooled_output)
        sums = {
            **masked_lm_sums(masked_lm_logits, features["masked_lm_ids"], features["masked_lm_weights"]),
            **next_sentence_sums(next_sentence_logits, features["next_sentence_labels"], features["input_mask"]),
        }
        return {**metrics_of(sums), **sums}

    def masked_lm_logits(self, hidden_states: Tensor) -> Tensor:
        """Of the encoder's [batch, n, hidden] -> the scores of every token at each position, [batch, n, vocab]."""
        return self.masked_lm(hidden_states, self.encoder.embeddings.word_embeddings)

    @property
    def named_weights(self) -> dict[str, keras.Variable]:
        """The trained weights by name, such as `bert/layer_0/query/kernel`."""
        return {weight.path.removeprefix("pretrainer/"): weight for weight in self.trainable_variables}


class BertEncoder(keras.layers.Layer):
    """Token ids -> a hidden state for every token, and one for the pair."""

    def __init__(self, config: BertConfig, seeds: Random):
        super().__init__(name="bert")
        self.embeddings = Embeddings(config, seeds)
        self.transformer = [TransformerLayer(config, seeds, f"layer_{i}") for i in range(config.num_hidden_layers)]
        self.pooler = dense(config.hidden_size, config, seeds, "pooler", "tanh")

    def call(
        self,
        input_ids: Tensor,
        input_mask: Tensor,
        segment_ids: Tensor,
        positions: Tensor | None = None,
        training: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Three times int32 [batch, seq] -> sequence_output [batch, seq, hidden], pooled_output [batch, hidden].

        Given int32 positions [batch, n], the first output is [batch, n, hidden]: the hidden states at those alone.
        """
        x = self.embeddings(input_ids, segment_ids, training=training)
        padding = _padding(input_mask, x.dtype)
        *layers, last_layer = self.transformer
        for layer in layers:
            x = layer(x, padding, training=training)
        if positions is None:
            x = last_layer(x, padding, training=training)
            return x, self.pooler(x[:, 0])
        # Nobody reads what the last layer makes of the others: without them a two-layer model trains a sixth faster.
        positions = ops.pad(positions, ((0, 0), (1, 0)))  # [CLS] first, for the pooler
        x = last_layer(x, padding, positions, training=training)
        return x[:, 1:], self.pooler(x[:, 0])

    def all_layers(
        self, input_ids: Tensor, input_mask: Tensor, segment_ids: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Three times int32 [batch, seq] -> what every layer makes of them, without dropout.

        First `num_hidden_layers + 1` hidden states [batch, seq, hidden]: the embeddings and each layer's output. Then
        `num_hidden_layers` attention probabilities [batch, heads, from_seq, to_seq]. Same as `hidden_states` and
        `attentions` of Hugging Face's `BertModel`.
        """
        hidden_states = [self.embeddings(input_ids, segment_ids)]
        attention_probs = []
        padding = _padding(input_mask, hidden_states[0].dtype)
        for layer in self.transformer:
            attention_probs.append(layer.attention_probs(hidden_states[-1], padding))
            hidden_states.append(layer(hidden_states[-1], padding))
        return tuple(hidden_states), tuple(attention_probs)


class Embeddings(keras.layers.Layer):
    """The sum of word, segment and position embeddings, normalised."""

    def __init__(self, config: BertConfig, seeds: Random):
        super().__init__(name="embeddings")
        self.config = config
        self.initializers = [initializer(config, seeds) for _ in range(3)]
        self.layer_norm = layer_norm("layer_norm")
        self.dropout = dropout(config.hidden_dropout_prob, seeds)

    def build(self, *_: Any) -> None:
        """Makes the three tables, [rows, hidden] each."""
        rows = {
            "word_embeddings": self.config.vocab_size,
            "token_type_embeddings": self.config.type_vocab_size,
            "position_embeddings": self.config.max_position_embeddings,
        }
        self.word_embeddings, self.token_type_embeddings, self.position_embeddings = (
            self.add_weight(shape=(rows[name], self.config.hidden_size), initializer=initializer, name=name)
            for name, initializer in zip(rows, self.initializers)
        )

    def call(self, input_ids: Tensor, segment_ids: Tensor, training: bool = False) -> Tensor:
        """Twice int32 [batch, seq] -> [batch, seq, hidden]."""
        x = ops.take(self.word_embeddings, input_ids, axis=0)
        # A product with one-hot rows: the gradient of a gather would add up thousands of rows one by one.
        x += ops.matmul(ops.one_hot(segment_ids, self.config.type_vocab_size), self.token_type_embeddings)
        x += self.position_embeddings[: input_ids.shape[1]]
        return self.dropout(self.layer_norm(x), training=training)


class TransformerLayer(keras.layers.Layer):
    """Self-attention and a feed-forward part; each is added to its input, then normalised (post-LN)."""

    def __init__(self, config: BertConfig, seeds: Random, name: str):
        super().__init__(name=name)
        self.heads = config.num_attention_heads
        self.query, self.key, self.value = (
            dense(config.hidden_size, config, seeds, name) for name in ("query", "key", "value")
        )
        self.attention_probs_dropout = dropout(config.attention_probs_dropout_prob, seeds)
        self.attention_output = dense(config.hidden_size, config, seeds, "attention_output")
        self.attention_dropout = dropout(config.hidden_dropout_prob, seeds)
        self.attention_layer_norm = layer_norm("attention_layer_norm")
        self.intermediate = dense(config.intermediate_size, config, seeds, "intermediate", gelu)
        self.feed_forward_output = dense(config.hidden_size, config, seeds, "output")
        self.output_dropout = dropout(config.hidden_dropout_prob, seeds)
        self.output_layer_norm = layer_norm("output_layer_norm")

    def build(self, x_shape: tuple[int, ...], *_: Any) -> None:
        """Builds the projections, which are used but never called."""
        for projection in (self.query, self.key, self.value):
            projection.build(x_shape)

    def call(self, x: Tensor, padding: Tensor, positions: Tensor | None = None, training: bool = False) -> Tensor:
        """Of [batch, seq, hidden], and padding, which is added to the scores -> [batch, seq, hidden].

        Given int32 positions [batch, n]: the result at those alone, [batch, n, hidden].
        """
        attended = self.attend(x, padding, training)
        if positions is not None:
            x, attended = gather(x, positions), gather(attended, positions)
        attended = self.attention_output(attended)
        x = self.attention_layer_norm(x + self.attention_dropout(attended, training=training))
        y = self.feed_forward_output(self.intermediate(x))
        return self.output_layer_norm(x + self.output_dropout(y, training=training))

    def attend(self, x: Tensor, padding: Tensor, training: bool) -> Tensor:
        """Multi-head self-attention: [batch, seq, hidden] -> [batch, seq, hidden]."""
        q, k, v = self.project(x)
        probs = self.attention_probs_dropout(_attention_probs(q, k, padding), training=training)
        attended = ops.matmul(probs, v)  # [batch, heads, seq, size]
        return ops.reshape(ops.transpose(attended, (0, 2, 1, 3)), ops.shape(x))

    def attention_probs(self, x: Tensor, padding: Tensor) -> Tensor:
        """How much each token of [batch, seq, hidden] attends to each: [batch, heads, from_seq, to_seq]."""
        q, k, _ = self.project(x)
        return _attention_probs(q, k, padding)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of [batch, seq, hidden] the queries, keys and values, [batch, heads, seq, size] each."""
        batch, seq, hidden = ops.shape(x)
        # One product and one transpose for the three projections, which stay three weights, as in Google's files.
        projections = (self.query, self.key, self.value)
        kernel = ops.concatenate([projection.kernel for projection in projections], axis=1)
        bias = ops.concatenate([projection.bias for projection in projections])
        qkv = ops.reshape(ops.matmul(x, kernel) + bias, (batch, seq, 3, self.heads, hidden // self.heads))
        q, k, v = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)))
        return q, k, v


def _attention_probs(q: Tensor, k: Tensor, padding: Tensor) -> Tensor:
    """Of queries and keys [batch, heads, seq, size] -> [batch, heads, from_seq, to_seq]."""
    size = q.shape[-1]
    return ops.softmax(ops.matmul(q * size**-0.5, ops.transpose(k, (0, 1, 3, 2))) + padding)


def _padding(input_mask: Tensor, dtype: str) -> Tensor:
    """What is added to the scores of attention, of int32 [batch, seq]: [batch, 1, 1, seq], -10000 for no token."""
    return -10000.0 * (1.0 - ops.cast(input_mask, dtype))[:, None, None, :]
