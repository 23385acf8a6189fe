"""What a classifier makes of texts: scores of each label, computed in batches of few shapes."""

from collections.abc import Callable

import numpy as np
from keras import ops
from numpy.typing import NDArray

from maskmill.model.tasks.classifier import softmax
from maskmill.model.tasks.metrics import Confusion, count_confusion, metrics_of_confusion
from maskmill.model.training.step import Batch, Losses
from maskmill.pipeline.tables.texts import EncodedTexts

BATCH_SIZE = 32
SHORTEST = 16


def padded_lengths(lengths: NDArray[np.integer], max_seq_length: int) -> NDArray[np.int64]:
    """The length that each row is padded to: the next power of two, `max_seq_length` at the most.

    Few lengths, because each is compiled; and none much longer than the row, which is what it costs.

    >>> padded_lengths(np.array([5, 16, 17, 100]), 100)
    array([ 16,  16,  32, 100])
    """
    powers = 1 << np.ceil(np.log2(np.maximum(lengths, SHORTEST))).astype(np.int64)
    padded: NDArray[np.int64] = np.minimum(powers, max_seq_length)
    return padded


def predict_logits(
    run_step: Callable[[Batch], Losses], texts: EncodedTexts, num_labels: int, max_seq_length: int
) -> NDArray[np.float32]:
    """Texts -> the scores of each label, float32 [n, num_labels], in their order.

    Every batch has BATCH_SIZE rows of about the same length, the last of a length filled up with padding. Which rows
    are together is a function of `texts` alone: a processor may round a sum otherwise in another company.
    """
    logits = np.zeros((len(texts), num_labels), np.float32)
    padded = padded_lengths(texts.lengths, max_seq_length)
    for seq_length in np.unique(padded).tolist():
        rows = np.flatnonzero(padded == seq_length)
        for start in range(0, len(rows), BATCH_SIZE):
            batch = rows[start : start + BATCH_SIZE]
            outputs = run_step(texts.features(batch, seq_length, BATCH_SIZE))
            logits[batch] = ops.convert_to_numpy(outputs["logits"])[: len(batch)]
    return logits


def measure_texts(
    run_step: Callable[[Batch], Losses],
    texts: EncodedTexts,
    labels: NDArray[np.integer],
    num_labels: int,
    max_seq_length: int,
) -> tuple[dict[str, float], Confusion]:
    """Texts and their labels [n] -> the loss and the metrics of what is predicted, and the confusion matrix."""
    logits = predict_logits(run_step, texts, num_labels, max_seq_length)
    of_labels = softmax(logits.astype(np.float64))[np.arange(len(labels)), labels]
    confusion = count_confusion(labels, logits.argmax(axis=1), num_labels)
    loss = float(-np.log(np.maximum(of_labels, 1e-300)).mean())
    return {"loss": loss, **metrics_of_confusion(confusion)}, confusion
