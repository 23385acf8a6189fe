"""How well labels are predicted: small functions of the confusion matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]  # [labels, labels]: rows that have the label i, and are taken for j


def count_confusion(
    labels: Sequence[int] | NDArray[np.integer], predicted: Sequence[int] | NDArray[np.integer], num_labels: int
) -> Confusion:
    """Labels and predictions [n] -> how many rows of each label are taken for each.

    >>> count_confusion([0, 0, 1], [0, 1, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    confusion = np.zeros((num_labels, num_labels), np.int64)
    np.add.at(confusion, (np.asarray(labels), np.asarray(predicted)), 1)
    return confusion


def accuracy(confusion: Confusion) -> float:
    """The share of the rows that are predicted rightly.

    >>> accuracy(np.array([[1, 1], [0, 2]]))
    0.75
    """
    return float(np.trace(confusion) / max(confusion.sum(), 1))


def f1_by_label(confusion: Confusion) -> NDArray[np.float64]:
    """The F1 of each label, [labels]; nan where no row has it and none is taken for it.

    >>> f1_by_label(np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0]]))
    array([0.66666667, 0.8       ,        nan])
    """
    right = np.diag(confusion)
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.where(both > 0, 2 * right / np.maximum(both, 1), np.nan)


def macro_f1(confusion: Confusion) -> float:
    """The mean F1 of the labels that rows have, each counting the same.

    A label without rows does not count, whether rows are taken for it or not: its F1 could only be 0.

    >>> round(macro_f1(np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]])), 4)
    0.5833
    """
    found = f1_by_label(confusion)[confusion.sum(axis=1) > 0]
    return float(found.mean()) if len(found) else 0.0


def matthews_correlation(confusion: Confusion) -> float:
    """Gorodkin's R_K, of two labels Matthews's coefficient: 1 is all right, 0 is no better than chance.

    0 where all rows have one label, or are taken for one. Source: Gorodkin 2004, "Comparing two K-category assignments
    by a K-category correlation coefficient".

    >>> round(matthews_correlation(np.array([[1, 1], [0, 2]])), 4)
    0.5774
    """
    matrix = confusion.astype(np.float64)
    total, right = matrix.sum(), np.trace(matrix)
    have, taken = matrix.sum(axis=1), matrix.sum(axis=0)
    scale = np.sqrt((total**2 - have @ have) * (total**2 - taken @ taken))
    return float((right * total - have @ taken) / scale) if scale > 0 else 0.0


def find_one_label(confusion: Confusion) -> int | None:
    """The label that (nearly) all rows are taken for, where a twentieth or less of the other rows are not; else None.

    >>> find_one_label(np.array([[60, 0], [40, 0]]))
    0
    >>> find_one_label(np.array([[60, 0], [30, 10]])) is None
    True

    None also where all rows have that label: then nothing is wrong.

    >>> find_one_label(np.array([[60, 0], [0, 0]])) is None
    True
    """
    have, taken = confusion.sum(axis=1), confusion.sum(axis=0)
    label = int(taken.argmax())
    others, told_apart = have.sum() - have[label], taken.sum() - taken[label]
    return label if others and told_apart <= others / 20 else None


def metrics_of_confusion(confusion: Confusion) -> dict[str, float]:
    """All three by name."""
    return {
        "accuracy": accuracy(confusion),
        "macro_f1": macro_f1(confusion),
        "matthews_correlation": matthews_correlation(confusion),
    }
