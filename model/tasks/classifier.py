"""BERT with a classifier on the pooled output, as Google's `run_classifier.py` has it."""

from dataclasses import replace
from random import Random

import keras
import numpy as np
from keras import ops

from maskmill.model.bert.config import BertConfig, ComputeDtype
from maskmill.model.bert.encoder import BertEncoder, Gates
from maskmill.model.bert.fused import dropout
from maskmill.model.bert.layers import Dense, multiply
from maskmill.model.bert.randomness import Key, Tensor, fold_in

LABEL_FEATURES = ("label_ids", "label_weights")  # beside those of the texts, where it is trained

CLASSIFIER_STDDEV = 0.02  # of the first weights of a classifier, whatever those of the encoder began with

_ENCODER, _POOLED = range(2)  # what the keys of dropout are for


class BertClassifier(keras.Model):
    """The features of a batch -> the scores of each label.

    Its parts are `encoder` and `classifier`, whose kernel [hidden, labels] begins truncated normal with a deviation of
    0.02, whatever the encoder's began with. Initial weights are a function of `random_seed` (on one backend).
    """

    sum_names = ("loss_sum", "right", "rows")

    def __init__(
        self,
        config: BertConfig,
        num_labels: int,
        random_seed: int = 12345,
        compute_dtype: ComputeDtype = "float32",
        classifier_dropout_prob: float = 0.1,
    ):
        super().__init__(name="classifier_model", autocast=False)
        self.config = config
        self.rate = classifier_dropout_prob
        seeds = Random(random_seed)
        self.encoder = BertEncoder(config, seeds, compute_dtype)
        google = replace(config, initializer_range=CLASSIFIER_STDDEV)
        self.classifier = Dense(config.hidden_size, num_labels, google, seeds, "classifier")
        self.built = True  # every weight was made above

    def of_shape(self, config: BertConfig, compute_dtype: ComputeDtype = "float32") -> "BertClassifier":
        """A new model of the same kind."""
        num_labels = self.classifier.kernel.shape[1]
        return BertClassifier(config, num_labels, compute_dtype=compute_dtype, classifier_dropout_prob=self.rate)

    def call(self, features: dict[str, Tensor], gates: Gates | None = None) -> dict[str, Tensor]:
        """`input_ids`, `input_mask` and `segment_ids`, int32 [batch, seq] -> `logits` float32 [batch, labels]."""
        return {"logits": self.logits(features, gates=gates)}

    def logits(self, features: dict[str, Tensor], dropout_key: Key | None = None, gates: Gates | None = None) -> Tensor:
        """The same, with dropout where a key is given: float32 [batch, labels]."""
        # No positions but [CLS], which the encoder adds: nobody reads what its last layer makes of the others.
        nothing = ops.zeros((features["input_ids"].shape[0], 0), dtype="int32")
        encoder_key, pooled_key = (
            None if dropout_key is None else fold_in(dropout_key, use) for use in (_ENCODER, _POOLED)
        )
        _, pooled_output = self.encoder(
            features["input_ids"],
            features["input_mask"],
            features["segment_ids"],
            positions=nothing,
            dropout_key=encoder_key,
            gates=gates,
        )
        pooled_output = dropout(pooled_output, pooled_key, self.rate)
        return ops.cast(multiply(pooled_output, self.classifier.kernel), "float32") + self.classifier.bias

    def sums(
        self, features: dict[str, Tensor], dropout_key: Key | None = None, gates: Gates | None = None
    ) -> dict[str, Tensor]:
        """The `sum_names` of a batch, whose features have `label_ids` int32 and `label_weights` float32, [batch, 1].

        A row that only fills up the batch has no tokens, and counts nowhere.
        """
        logits = self.logits(features, dropout_key, gates)
        label_ids = features["label_ids"][:, 0]
        is_row = ops.cast(features["input_mask"][:, 0], "float32")
        log_probs = ops.log_softmax(logits, axis=-1)
        is_label = ops.one_hot(label_ids, logits.shape[-1], dtype="float32")
        losses = -ops.sum(is_label * log_probs, axis=-1)
        is_right = ops.cast(ops.argmax(logits, axis=-1), "int32") == label_ids
        return {
            "loss_sum": ops.sum(losses * features["label_weights"][:, 0] * is_row),
            "right": ops.stop_gradient(ops.sum(ops.cast(is_right, "float32") * is_row)),
            **self.weights_of(features),
        }

    def weights_of(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The number of rows in a batch, which the sums are to be divided by."""
        return {"rows": ops.sum(ops.cast(features["input_mask"][:, 0], "float32"))}

    def metrics_of(self, sums: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss and accuracy, from the sums of a batch (tensors) or of many (floats).

        The loss is divided by the number of rows, not by their weights: so a row moves the model as much, whatever is
        beside it in its batch.
        """
        return {"loss": sums["loss_sum"] / sums["rows"], "accuracy": sums["right"] / sums["rows"]}

    @property
    def named_weights(self) -> dict[str, keras.Variable]:
        """The weights by name: those of the encoder as in a pre-trained model, and `classifier/kernel` and `/bias`."""
        return {weight.path: weight for weight in self.trainable_variables}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Scores -> probabilities, float32 [n, labels] each."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities
