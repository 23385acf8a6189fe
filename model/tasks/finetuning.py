"""Fine-tunes a BERT to tell labels apart. The same call again goes on where the last one stopped, to the same weights.

Source of the recipe: `run_classifier.py` of google-research/bert.
"""

import logging
import math
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from model.checkpoint import digest_of, find_not_finite, read_newest, read_sums, restore, save_best, save_checkpoint
from model.distribution import assign
from model.evaluate import write_results
from model.memory import want_of_memory
from model.metrics_log import MetricsLog, read_metrics
from model.optimization import AdamWeightDecay, Schedule
from model.signals import Signals, signals_deferred
from model.step import Batch, Losses, eval_step, train_step
from model.tasks.classifier import BertClassifier
from model.tasks.confusion import draw_confusion
from model.tasks.finetune_config import FinetuneConfig
from model.tasks.finetuned import (
    FinetunedBert,
    open_finetuned,
    open_finetuned_dir,
    read_finetuning,
    restore_finetuned,
)
from model.tasks.metrics import Confusion
from model.tasks.predicting import measure_texts
from model.tasks.rows import LabelledRows
from model.trained import TrainedBert
from pipeline.storage import absolute
from pipeline.tables.labelled import HeldOut, LabelledTexts, find_labels
from tokenizer.errors import InputError
from tokenizer.vocab import Vocab

_SECONDS_BETWEEN_REPORTS = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneProgress:
    """Where a fine-tuning stands; loss and accuracy are means over the epoch so far."""

    step: int
    num_train_steps: int
    loss: float
    accuracy: float
    rows_per_second: float  # in this run


@dataclass(frozen=True)
class Hooks:
    """Who wants to hear of a fine-tuning while it goes on."""

    report: Callable[[FinetuneProgress], None] = lambda progress: None  # about once a second
    evaluated: Callable[[int, dict[str, float], bool], None] = lambda epoch, metrics, is_best: None
    saved: Callable[[], None] = lambda: None  # after each checkpoint


@dataclass(frozen=True)
class Outcome:
    """What a fine-tuning came to."""

    step: int  # steps done
    num_train_steps: int
    labels: list[str]
    metrics: dict[str, float] = field(default_factory=dict)  # of the best epoch on the held-out rows
    confusion: Confusion | None = None  # of the same; None where it was stopped before its end
    best_step: int | None = None  # the end of that epoch; 0 where a pruned model was better as it was

    @property
    def is_done(self) -> bool:
        """Whether all steps were taken."""
        return self.confusion is not None


def finetune(
    start: TrainedBert,
    train: LabelledTexts,
    held_out: LabelledTexts,
    output: str | os.PathLike[str],
    config: FinetuneConfig | None = None,
    hooks: Hooks | None = None,
) -> Outcome:
    """Trains a classifier that begins as `start` into the folder `output`, from its newest checkpoint if it has one.

    After each epoch it is measured on the held-out rows, and the best epoch is kept: that of the highest macro F1, of
    two even ones the one of the lower loss. Writes checkpoints, `metrics.jsonl`, TensorBoard events, and at the end
    `eval_results.txt` and `confusion.png`, both of the best epoch.

    SIGTERM ends it after a checkpoint, and so does Ctrl-C, which raises KeyboardInterrupt then. Raises InputError when
    rows, model, configuration and folder do not fit, a loss is not finite, or a step does not fit into memory.
    """
    config = config or FinetuneConfig()
    labels = find_labels(train, held_out)
    longest = start.model.config.max_position_embeddings
    if config.max_seq_length > longest:
        raise InputError(
            f"max_seq_length is {config.max_seq_length}, {start.path} has {longest} positions; "
            f"give --max-seq-length {longest} or less"
        )
    model = BertClassifier(
        start.model.config, len(labels), config.random_seed, config.precision, config.classifier_dropout_prob
    )
    init_sha256 = begin_with(model, start)
    rows = LabelledRows.prepare(start, train, held_out, labels, config)
    description = describe(start, train, held_out, labels, config, init_sha256)
    return _train(model, start.vocab, rows, description, Path(output), hooks or Hooks())


def go_on(
    output: str | os.PathLike[str],
    train: LabelledTexts,
    held_out: LabelledTexts,
    config: FinetuneConfig,
    hooks: Hooks | None = None,
) -> Outcome:
    """As `finetune`, of what a folder holds already: a classifier that was pruned, or a fine-tuning on its way.

    It begins with the newest checkpoint there, whose labels and vocabulary it keeps. Raises InputError when it was
    begun with other rows or another configuration.
    """
    folder = Path(output)
    found = open_finetuned(folder, "newest")
    require_labels(found, train, held_out)
    description = {
        **read_finetuning(folder),
        "backend": keras.backend.backend(),
        "config": asdict(config),
        "train_sha256": train.sha256,
        "eval_sha256": held_out.sha256,
    }
    rows = LabelledRows.prepare(found, train, held_out, found.labels, config)
    return _train(found.model, found.vocab, rows, description, folder, hooks or Hooks())


def _train(
    model: BertClassifier, vocab: Vocab, rows: LabelledRows, description: dict[str, Any], folder: Path, hooks: Hooks
) -> Outcome:
    """Takes the steps that are left in a folder, and measures the best epoch."""
    config, labels = rows.config, description["labels"]
    num_train_steps = config.steps_for(len(rows.train))
    optimizer = optimizer_of(model, config, num_train_steps)
    with open_finetuned_dir(folder, description, vocab):
        step, arrays = read_newest(folder) or (0, None)
        sums = dict.fromkeys(model.sum_names, 0.0)
        if arrays:
            restore(arrays, {**optimizer.weights, **optimizer.variables})
            sums = read_sums(folder, step)
            del arrays
        with signals_deferred() as signals, closing(MetricsLog(folder, step)) as log:
            training = _Finetuning(
                folder, config, rows, model, optimizer, log, hooks, signals, num_train_steps, step, sums
            )
            training.catch_up()
            training.run()
        if signals.got == signal.SIGINT:
            raise KeyboardInterrupt
        if signals.got:
            return Outcome(training.step, num_train_steps, labels)
        best_step, metrics, confusion = training.finish()
        return Outcome(training.step, num_train_steps, labels, metrics, confusion, best_step)


def begin_with(model: BertClassifier, start: TrainedBert) -> str:
    """Gives a classifier the encoder of a trained model -> the checksum of its weights.

    A pooler that the model came without begins fresh, which is said.
    """
    given = start.model.named_weights
    weights = {}
    for name, variable in model.named_weights.items():
        if name in given and not name.startswith(start.missing_heads):
            weights[name] = np.asarray(given[name])
            assign(variable, weights[name])
    for head in start.missing_heads:
        if head.startswith("bert/"):
            logger.warning("%s has no %s, which begins fresh", start.path, head)
    return digest_of(weights)


def optimizer_of(model: BertClassifier, config: FinetuneConfig, num_train_steps: int) -> AdamWeightDecay:
    """The optimizer of a training, before its first step."""
    schedule = Schedule(config.learning_rate, num_train_steps, int(num_train_steps * config.warmup_proportion))
    return AdamWeightDecay(model.named_weights, schedule, config.weight_decay_rate)


def require_labels(found: FinetunedBert, train: LabelledTexts, held_out: LabelledTexts) -> None:
    """Raises InputError when rows have other labels than a classifier tells apart."""
    labels = find_labels(train, held_out)
    if labels != found.labels:
        other = min(set(labels) ^ set(found.labels))
        where = f"in {train.name} alone" if other in labels else f"on no row to train on of {train.name}"
        raise InputError(
            f"{found.path} tells {', '.join(found.labels)} apart, and label {other!r} is {where}; give rows with the "
            "labels of the model"
        )


def describe(
    start: TrainedBert | FinetunedBert,
    train: LabelledTexts,
    held_out: LabelledTexts,
    labels: list[str],
    config: FinetuneConfig,
    init_sha256: str,
) -> dict[str, Any]:
    """All that decides what a fine-tuning comes to: the content of `finetuning.json`."""
    return {
        "backend": keras.backend.backend(),
        "bert_config": start.model.config.to_dict(),
        "config": asdict(config),
        "labels": labels,
        "fields": asdict(train.fields),
        "cased": start.cased,
        "vocab_sha256": start.vocab.sha256,
        "train_sha256": train.sha256,
        "eval_sha256": held_out.sha256,
        "held_out": asdict(held_out.split or HeldOut(absolute(held_out.name))),
        "init_model": start.path,
        "init_sha256": init_sha256,
    }


@dataclass
class _Finetuning:
    """A fine-tuning on its way."""

    folder: Path
    config: FinetuneConfig
    rows: LabelledRows
    model: BertClassifier
    optimizer: AdamWeightDecay
    log: MetricsLog
    hooks: Hooks
    signals: Signals
    num_train_steps: int
    step: int
    sums: dict[str, float]  # over the epoch so far
    stops: bool = False

    def __post_init__(self) -> None:
        self.run_eval = eval_step(self.model)
        self.unread: list[Losses] = []

    def catch_up(self) -> None:
        """Makes up for the evaluation of an epoch that the run before this one did not come to."""
        if self._is_epoch_done() and not any(row["step"] == self.step for row in read_metrics(self.folder)):
            self._evaluate()

    def run(self) -> None:
        """Takes the steps that are left, or those until a signal."""
        run_step = train_step(self.model, self.optimizer, self.config.random_seed)
        size, first_step, began = self.config.train_batch_size, self.step, time.monotonic()
        reported = began
        while self.step < self.num_train_steps and not self.stops:
            if self.step % self.rows.steps_per_epoch == 0:
                self.sums = dict.fromkeys(self.model.sum_names, 0.0)
            with want_of_memory(
                f"a step on {size:,} rows of {self.config.max_seq_length} tokens", "a smaller --train-batch-size"
            ):
                self.unread.append(run_step(self.rows.batch(self.step)))
                self.step += 1
                if self.step == first_step + 1:
                    self._read()
                    began = reported = time.monotonic()  # the first step compiles, and does not count
                elif time.monotonic() - reported >= _SECONDS_BETWEEN_REPORTS:
                    self._read()
                    reported = time.monotonic()
                    self._report((self.step - first_step - 1) * size / (reported - began))
            self.stops = self.signals.got is not None
            is_epoch_done = self._is_epoch_done()
            if is_epoch_done or self.stops or self.step % self.config.save_checkpoints_steps == 0:
                self._read()  # stops at a loss that is not finite, before what it did to the weights is kept
                run_step.sync()
                self._save()
            if is_epoch_done and not self.stops:
                self._evaluate()

    def finish(self) -> tuple[int, dict[str, float], Confusion]:
        """Measures the best epoch once more, and writes what it comes to."""
        best_step = restore_finetuned(self.folder, self.model.named_weights, "best")
        metrics, confusion = self._measure()
        write_results(self.folder, metrics)
        draw_confusion(self.folder, confusion, read_finetuning(self.folder)["labels"])
        return best_step, metrics, confusion

    def _is_epoch_done(self) -> bool:
        is_whole = self.step % self.rows.steps_per_epoch == 0
        return self.step > 0 and (is_whole or self.step == self.num_train_steps)

    def _read(self) -> None:
        """Adds up the steps that were not read yet, one by one: so that it does not matter when they are read."""
        before = self.step - len(self.unread)
        for number, losses in enumerate(self.unread, start=before + 1):
            values = {name: float(losses[name]) for name in self.model.sum_names}
            if not math.isfinite(values["loss_sum"]):
                raise self._not_finite(f"the loss of step {number} is {values['loss_sum']}")
            for name, value in values.items():
                self.sums[name] += value
        self.unread = []

    def _not_finite(self, what: str) -> InputError:
        return InputError(
            f"{what}; likely causes: a learning_rate of {self.config.learning_rate} that is too high, or weights that "
            "are not finite; fine-tune into a new folder with a lower one"
        )

    def _report(self, rows_per_second: float) -> None:
        means = self._means()
        self.hooks.report(
            FinetuneProgress(self.step, self.num_train_steps, means["loss"], means["accuracy"], rows_per_second)
        )

    def _means(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.model.metrics_of(self.sums).items()}

    def _save(self) -> None:
        state = {**self.optimizer.weights, **self.optimizer.variables}
        if name := find_not_finite(state):
            raise self._not_finite(f"{name} is not finite after step {self.step}")
        save_checkpoint(self.folder, self.step, state, self.config.keep_checkpoints, self.sums)
        self.hooks.saved()

    def _evaluate(self) -> None:
        """Measures the epoch that is done, and keeps it if it is the best. A signal ends that at once."""
        try:
            metrics, _ = self._measure()
        except _EvaluationStoppedError:
            self.stops = True
            return
        earlier = [row for row in read_metrics(self.folder) if row["step"] < self.step]
        is_best = all(_goodness(metrics) > _goodness(row, "eval_") for row in earlier)
        if is_best:
            save_best(self.folder, self.model.named_weights, self.step, metrics["loss"])
        epoch = math.ceil(self.step / self.rows.steps_per_epoch)
        # After the best checkpoint: the evaluation is made again after an end in between, until it is logged.
        measured = {f"eval_{name}": value for name, value in metrics.items()}
        self.log.write(self.step, {"epoch": epoch, **self._means(), **measured}, time.time())
        self.hooks.evaluated(epoch, metrics, is_best)

    def _measure(self) -> tuple[dict[str, float], Confusion]:
        """The metrics of the model as it is on the held-out rows, and their confusion matrix."""

        def run_eval(features: Batch) -> Losses:
            if self.signals.got is not None:
                raise _EvaluationStoppedError
            return self.run_eval(features)

        rows, num_labels = self.rows, len(self.rows.label_weights)
        return measure_texts(run_eval, rows.held_out, rows.held_out_labels, num_labels, self.config.max_seq_length)


def _goodness(metrics: dict[str, Any], prefix: str = "") -> tuple[float, float]:
    """What the best epoch has the most of."""
    return metrics[f"{prefix}macro_f1"], -metrics[f"{prefix}loss"]


class _EvaluationStoppedError(Exception):
    """A signal came while a model was evaluated."""
