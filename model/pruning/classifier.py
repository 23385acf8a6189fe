"""From a fine-tuned BERT to the folder of a smaller one, chosen by the loss of its task."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from maskmill.model.bert.config import ComputeDtype
from maskmill.model.formats.model_dir import WhichCheckpoint
from maskmill.model.pruning.config import PruneConfig
from maskmill.model.pruning.smaller import prune_to_folder
from maskmill.model.tasks.classifier import BertClassifier
from maskmill.model.tasks.finetune_config import FinetuneConfig
from maskmill.model.tasks.finetuned import FinetunedBert, open_finetuned_dir
from maskmill.model.tasks.finetuning import describe, optimizer_of, require_labels
from maskmill.model.tasks.predicting import BATCH_SIZE, measure_texts
from maskmill.model.tasks.rows import LabelledRows
from maskmill.model.training.checkpoint import digest_of, save_best, save_checkpoint
from maskmill.model.training.metrics_log import MetricsLog
from maskmill.model.training.step import Batch, Losses
from maskmill.pipeline.storage.storage import AnyPath, absolute
from maskmill.pipeline.tables.labelled import LabelledTexts

METRICS = ("loss", "accuracy", "macro_f1", "matthews_correlation")


def prune_classifier(
    found: FinetunedBert,
    train: LabelledTexts,
    held_out: LabelledTexts,
    output_dir: AnyPath,
    config: PruneConfig,
    finetune_config: FinetuneConfig | None = None,
    checkpoint: WhichCheckpoint = "best",
) -> dict[str, Any]:
    """Writes what is left of a classifier as a fine-tuned folder -> the content of its `pruning.json`.

    taylor measures on `train`, by the loss with the model's class weights; the metrics are of `held_out`.

    `finetune_config` says how it will be trained further, by default as it was trained; with its num_train_steps, the
    folder is that of a training before its first step, and `go_on(output_dir, train, held_out, finetune_config)` takes
    the steps.

    Raises InputError as `prune_to_folder` does, or when the rows have other labels than the model.
    """
    require_labels(found, train, held_out)
    finetune_config = finetune_config or replace(found.config, num_train_steps=None)
    request = describe_request(found, train, held_out, config, finetune_config.num_train_steps, checkpoint)
    return prune_to_folder(_Finetuned(found, train, held_out, finetune_config), Path(output_dir), config, request)


def describe_request(
    found: FinetunedBert,
    train: LabelledTexts,
    held_out: LabelledTexts,
    config: PruneConfig,
    recovery_steps: int | None,
    checkpoint: WhichCheckpoint,
) -> dict[str, Any]:
    """What was asked for: the part of `pruning.json` by which the same request is known again."""
    return {
        "model_dir": absolute(found.path),
        "checkpoint": checkpoint,
        "train_sha256": train.sha256,
        "eval_sha256": held_out.sha256,
        "recovery_steps": recovery_steps,
        **asdict(config),
    }


@dataclass
class _Finetuned:
    """A classifier, measured on labelled texts: a `Prunable`."""

    found: FinetunedBert
    train: LabelledTexts
    held_out: LabelledTexts
    config: FinetuneConfig

    def __post_init__(self) -> None:
        self.model: BertClassifier = self.found.model
        self.precision: ComputeDtype = self.config.precision
        self.num_examples = len(self.train)
        self.rows = LabelledRows.prepare(self.found, self.train, self.held_out, self.found.labels, self.config)

    def train_batches(self, batch_size: int, random_seed: int) -> Generator[Batch, None, None]:
        order = np.random.default_rng(random_seed).permutation(self.num_examples)
        for start in count(0, batch_size):
            yield self.rows.train_batch(order.take(range(start, start + batch_size), mode="wrap"), batch_size)

    def batch(self) -> Batch:
        rows = np.arange(BATCH_SIZE) % len(self.rows.held_out)
        return self.rows.held_out.features(rows, self.config.max_seq_length)

    def evaluate(self, run_step: Callable[[Batch], Losses]) -> dict[str, float]:
        rows, num_labels = self.rows, len(self.found.labels)
        return measure_texts(run_step, rows.held_out, rows.held_out_labels, num_labels, self.config.max_seq_length)[0]

    def write(self, folder: Path, pruned: BertClassifier, metrics: dict[str, float]) -> None:
        whole = {name: np.asarray(weight) for name, weight in self.model.named_weights.items()}
        left = replace(self.found, model=pruned, path=absolute(self.found.path))
        finetuning = describe(left, self.train, self.held_out, left.labels, self.config, digest_of(whole))
        state = dict(pruned.named_weights)
        if self.config.num_train_steps:
            state |= optimizer_of(pruned, self.config, self.config.num_train_steps).variables
        with open_finetuned_dir(folder, finetuning, left.vocab), closing(MetricsLog(folder, 0)) as log:
            save_checkpoint(folder, 0, state, keep=1)
            save_best(folder, pruned.named_weights, 0, metrics["loss"])
            # The epochs of the recovery have to be better than this.
            log.write(0, {"epoch": 0, **{f"eval_{name}": metrics[name] for name in METRICS}}, time.time())
