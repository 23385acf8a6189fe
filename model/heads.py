"""The two pre-training tasks: their heads and losses, as in Google's `run_pretraining.py`.

A batch gives sums, and every loss and accuracy is a ratio of sums. So the same sums, added up over batches, give the
exact metrics of a whole split.
"""

from random import Random
from typing import Any

import keras
from keras import ops

from model.config import BertConfig
from model.layers import Tensor, dense, gelu, layer_norm

SUMS = (
    "masked_lm_loss_sum", "masked_lm_right", "masked_lm_weight",
    "next_sentence_loss_sum", "next_sentence_right", "next_sentence_weight",
)  # fmt: skip


class MaskedLMHead(keras.layers.Layer):
    """Hidden states -> scores of every token of the vocabulary, by the word embeddings themselves."""

    def __init__(self, config: BertConfig, seeds: Random):
        super().__init__(name="masked_lm")
        self.vocab_size = config.vocab_size
        self.transform = dense(config.hidden_size, config, seeds, "transform", gelu)
        self.layer_norm = layer_norm("layer_norm")

    def build(self, *_: Any) -> None:
        """Makes the bias of the scores; their weights are the word embeddings."""
        self.output_bias = self.add_weight(shape=(self.vocab_size,), initializer="zeros", name="output_bias")

    def call(self, x: Tensor, word_embeddings: Tensor) -> Tensor:
        """Of [batch, predictions, hidden] and [vocab, hidden] -> logits [batch, predictions, vocab]."""
        x = self.layer_norm(self.transform(x))
        return ops.matmul(x, ops.transpose(word_embeddings)) + self.output_bias


def masked_lm_sums(logits: Tensor, masked_lm_ids: Tensor, masked_lm_weights: Tensor) -> dict[str, Tensor]:
    """Loss, right predictions and number of the masked tokens of a batch, each summed.

    Of logits [batch, predictions, vocab], ids int32 and weights float32 [batch, predictions].
    """
    return _prediction_sums("masked_lm", logits, masked_lm_ids, masked_lm_weights)


def next_sentence_sums(logits: Tensor, next_sentence_labels: Tensor, input_mask: Tensor) -> dict[str, Tensor]:
    """Loss, right predictions and number of the pairs of a batch, each summed.

    Of logits [batch, 2], labels int32 [batch, 1] and input_mask int32 [batch, seq].
    """
    # Every example begins with [CLS]: a row without it only fills up the last batch of an evaluation.
    weights = ops.cast(input_mask[:, 0], "float32")
    return _prediction_sums("next_sentence", logits, next_sentence_labels[:, 0], weights)


def _prediction_sums(task: str, logits: Tensor, labels: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Loss, right predictions and number of a task's predictions, each summed and weighted.

    Of logits [..., classes], labels int32 [...] and weights float32 [...].
    """
    cross_entropy = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    is_right = ops.cast(ops.equal(ops.argmax(logits, axis=-1), labels), "float32")
    return {
        f"{task}_loss_sum": ops.sum(weights * cross_entropy),
        f"{task}_right": ops.sum(weights * is_right),
        f"{task}_weight": ops.sum(weights),
    }


def metrics_of(sums: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses and accuracies from sums over a batch (tensors) or over many batches (floats), by Google's names."""
    # Google's 1e-5, which keeps a batch without masked tokens from dividing by 0.
    predictions, pairs = sums["masked_lm_weight"] + 1e-5, sums["next_sentence_weight"]
    masked_lm_loss = sums["masked_lm_loss_sum"] / predictions
    next_sentence_loss = sums["next_sentence_loss_sum"] / pairs
    return {
        "loss": masked_lm_loss + next_sentence_loss,
        "masked_lm_loss": masked_lm_loss,
        "masked_lm_accuracy": sums["masked_lm_right"] / predictions,
        "next_sentence_loss": next_sentence_loss,
        "next_sentence_accuracy": sums["next_sentence_right"] / pairs,
    }
