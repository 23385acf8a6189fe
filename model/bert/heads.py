"""The two pre-training tasks: their heads and losses, as in Google's `run_pretraining.py`.

A batch gives sums, and every loss and accuracy is a ratio of sums. So the same sums, added up over batches, give the
exact metrics of a whole split.
"""

from random import Random

from keras import ops

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.fused import bias_gelu, norm, prediction_sums
from maskmill.model.bert.layers import Dense, LayerNorm, Part, multiply
from maskmill.model.bert.randomness import Tensor

SUMS = (
    "masked_lm_loss_sum", "masked_lm_right", "masked_lm_weight",
    "next_sentence_loss_sum", "next_sentence_right", "next_sentence_weight",
)  # fmt: skip
IS_RIGHT = "masked_lm_is_right"  # what an evaluation of a batch gives beside its sums: float32 [batch, predictions]


class MaskedLMHead(Part):
    """Hidden states -> scores of every token of the vocabulary, by the word embeddings themselves."""

    def __init__(self, config: BertConfig, seeds: Random):
        super().__init__("masked_lm")
        with self.named():
            self.transform = Dense(config.hidden_size, config.hidden_size, config, seeds, "transform")
            self.layer_norm = LayerNorm(config.hidden_size, "layer_norm")
        self.output_bias = self.add_weight(shape=(config.vocab_size,), initializer="zeros", name="output_bias")

    def call(self, x: Tensor, word_embeddings: Tensor) -> Tensor:
        """Of [batch, predictions, hidden] and [vocab, hidden] -> logits float32 [batch, predictions, vocab]."""
        return ops.cast(self.scores(x, word_embeddings), "float32") + self.output_bias

    def scores(self, x: Tensor, word_embeddings: Tensor) -> Tensor:
        """The logits without their bias, in the dtype of x."""
        x = bias_gelu(self.transform(x), self.transform.bias)
        x = norm(x, self.layer_norm.gamma, self.layer_norm.beta)
        return multiply(x, word_embeddings, transposed=True)

    def sums(
        self, x: Tensor, word_embeddings: Tensor, masked_lm_ids: Tensor, masked_lm_weights: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Loss and right predictions of the masked tokens of a batch, each summed; and which predictions are right.

        Of [batch, predictions, hidden], [vocab, hidden], and int32 and float32 [batch, predictions]; the last of the
        results is float32 [batch, predictions].
        """
        scores = self.scores(x, word_embeddings)
        loss, right, is_right = prediction_sums(
            scores, self.output_bias, labels=masked_lm_ids, weights=masked_lm_weights
        )
        return {"masked_lm_loss_sum": loss, "masked_lm_right": right}, is_right


class NextSentenceHead(Dense):
    """The hidden state of a pair -> the scores of "is next" and "is random"."""

    def __init__(self, config: BertConfig, seeds: Random):
        super().__init__(config.hidden_size, 2, config, seeds, "next_sentence")

    def call(self, pooled_output: Tensor) -> Tensor:
        """Of [batch, hidden] -> logits float32 [batch, 2]."""
        return ops.cast(multiply(pooled_output, self.kernel), "float32") + self.bias

    def sums(self, pooled_output: Tensor, next_sentence_labels: Tensor, input_mask: Tensor) -> dict[str, Tensor]:
        """Loss and right predictions of the pairs of a batch, each summed.

        Of [batch, hidden], int32 [batch, 1] and int32 [batch, seq].
        """
        weights = _pair_weights(next_sentence_labels, input_mask)
        labels = next_sentence_labels[:, 0]
        logits = multiply(pooled_output, self.kernel)
        loss, right, _ = prediction_sums(logits, self.bias, labels=labels, weights=weights)
        return {"next_sentence_loss_sum": loss, "next_sentence_right": right}


def weights_of(features: dict[str, Tensor]) -> dict[str, Tensor]:
    """The number of masked tokens and of pairs in a batch: what its sums are to be divided by.

    An example without pairs has the label -1, and a row that only fills up the last batch of an evaluation no token.
    """
    return {
        "masked_lm_weight": ops.sum(features["masked_lm_weights"]),
        "next_sentence_weight": ops.sum(_pair_weights(features["next_sentence_labels"], features["input_mask"])),
    }


def _pair_weights(next_sentence_labels: Tensor, input_mask: Tensor) -> Tensor:
    return ops.cast(next_sentence_labels[:, 0] >= 0, "float32") * ops.cast(input_mask[:, 0], "float32")


def metrics_of(sums: dict[str, Tensor]) -> dict[str, Tensor]:
    """Losses and accuracies from sums over a batch (tensors) or over many batches (floats), by Google's names."""
    # Google's 1e-5, which keeps a batch without masked tokens from dividing by 0.
    predictions = sums["masked_lm_weight"] + 1e-5
    pairs = sums["next_sentence_weight"] + 1e-30  # which changes no number but 0, that of a dataset without pairs
    masked_lm_loss = sums["masked_lm_loss_sum"] / predictions
    next_sentence_loss = sums["next_sentence_loss_sum"] / pairs
    return {
        "loss": masked_lm_loss + next_sentence_loss,
        "masked_lm_loss": masked_lm_loss,
        "masked_lm_accuracy": sums["masked_lm_right"] / predictions,
        "next_sentence_loss": next_sentence_loss,
        "next_sentence_accuracy": sums["next_sentence_right"] / pairs,
    }


def known_metrics(sums: dict[str, float]) -> dict[str, float]:
    """The metrics of many batches by name; without those of the next sentence where no example is a pair."""
    has_pairs = sums["next_sentence_weight"] > 0
    return {
        name: value for name, value in metrics_of(sums).items() if has_pairs or not name.startswith("next_sentence")
    }
