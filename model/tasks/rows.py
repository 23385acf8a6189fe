"""Labelled texts as the batches that a classifier is trained on."""

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from maskmill.model.tasks.finetune_config import FinetuneConfig, choose_class_weights
from maskmill.model.tasks.finetuned import FinetunedBert
from maskmill.model.tasks.trained import TrainedBert
from maskmill.model.training.step import Batch
from maskmill.pipeline.tables.labelled import LabelledTexts
from maskmill.pipeline.tables.texts import EncodedTexts


@dataclass(frozen=True)
class LabelledRows:
    """What is trained and measured on, as ids."""

    train: EncodedTexts
    train_labels: NDArray[np.int32]
    held_out: EncodedTexts
    held_out_labels: NDArray[np.int32]
    label_weights: NDArray[np.float32]  # [labels]
    config: FinetuneConfig

    @classmethod
    def prepare(
        cls,
        start: TrainedBert | FinetunedBert,
        train: LabelledTexts,
        held_out: LabelledTexts,
        labels: list[str],
        config: FinetuneConfig,
    ) -> "LabelledRows":
        """The rows as a model sees them that has its labels in this order."""
        weights = choose_class_weights(config.class_weights, labels, Counter(train.labels))
        return cls(
            train.encode(start.vocab, start.rules, config.max_seq_length),
            train.label_ids(labels),
            held_out.encode(start.vocab, start.rules, config.max_seq_length),
            held_out.label_ids(labels),
            np.array(weights, np.float32),
            config,
        )

    @property
    def steps_per_epoch(self) -> int:
        """The steps in which all rows are seen once."""
        return math.ceil(len(self.train) / self.config.train_batch_size)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0. An epoch is all rows once; its last batch is filled up with padding."""
        epoch, place = divmod(step, self.steps_per_epoch)
        size = self.config.train_batch_size
        rows = _order_of(self.config.random_seed, epoch, len(self.train))[place * size : (place + 1) * size]
        return self.train_batch(rows, size)

    def train_batch(self, rows: NDArray[np.integer], size: int) -> Batch:
        """Some of the rows to train on with their labels, filled up to `size` with padding."""
        label_ids = np.zeros((size, 1), np.int32)
        label_ids[: len(rows), 0] = self.train_labels[rows]
        features: Batch = self.train.features(rows, self.config.max_seq_length, size)
        return {**features, "label_ids": label_ids, "label_weights": self.label_weights[label_ids]}


@lru_cache(1)
def _order_of(random_seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """The order of the rows in an epoch."""
    return np.random.default_rng([random_seed, epoch]).permutation(rows)
