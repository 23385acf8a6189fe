"""Fine-tunes a BERT to tell labels apart. The same call again goes on where the last one stopped, to the same weights.

Source of the recipe: `run_classifier.py` of google-research/bert.
"""

import logging
import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from model.checkpoint import digest_of, read_newest, read_sums, restore, save_best, save_checkpoint
from model.config import BERT_CONFIG
from model.distribution import assign
from model.evaluate import write_results
from model.memory import want_of_memory
from model.metrics_log import MetricsLog, read_metrics
from model.model_dir import open_folder
from model.optimization import AdamWeightDecay, Schedule
from model.signals import Signals, signals_deferred
from model.step import Batch, Losses, eval_step, train_step
from model.tasks.classifier import BertClassifier, softmax
from model.tasks.confusion import draw_confusion
from model.tasks.finetune_config import FinetuneConfig, choose_class_weights
from model.tasks.finetuned import FINETUNING, read_finetuning, restore_finetuned
from model.tasks.metrics import Confusion, count_confusion, metrics_of_confusion
from model.tasks.predicting import predict_logits
from model.trained import TrainedBert
from pipeline.labelled import LabelledTexts, find_labels
from pipeline.schema import VOCAB
from pipeline.storage import write_text
from pipeline.texts import EncodedTexts
from tokenizer.errors import InputError

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
    config, hooks, folder = config or FinetuneConfig(), hooks or Hooks(), Path(output)
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
    run = _Rows.prepare(start, train, held_out, labels, config)
    num_train_steps = config.num_train_epochs * run.steps_per_epoch
    schedule = Schedule(config.learning_rate, num_train_steps, int(num_train_steps * config.warmup_proportion))
    optimizer = AdamWeightDecay(model.named_weights, schedule, config.weight_decay_rate)
    description = describe(start, train, held_out, labels, config, init_sha256)
    with open_folder(folder, FINETUNING, description, read_finetuning):
        write_text(folder / BERT_CONFIG, start.model.config.to_json())
        write_text(folder / VOCAB, start.vocab.to_text())
        step, arrays = read_newest(folder) or (0, None)
        sums = dict.fromkeys(model.sum_names, 0.0)
        if arrays:
            restore(arrays, {**optimizer.weights, **optimizer.variables})
            sums = read_sums(folder, step)
            del arrays
        with signals_deferred() as signals, closing(MetricsLog(folder, step)) as log:
            training = _Finetuning(
                folder, config, run, model, optimizer, log, hooks, signals, num_train_steps, step, sums
            )
            training.catch_up()
            training.run()
        if signals.got == signal.SIGINT:
            raise KeyboardInterrupt
        if signals.got:
            return Outcome(training.step, num_train_steps, labels)
        metrics, confusion = training.finish()
        return Outcome(training.step, num_train_steps, labels, metrics, confusion)


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


def describe(
    start: TrainedBert,
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
        "init_model": start.path,
        "init_sha256": init_sha256,
    }


@dataclass(frozen=True)
class _Rows:
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
        start: TrainedBert,
        train: LabelledTexts,
        held_out: LabelledTexts,
        labels: list[str],
        config: FinetuneConfig,
    ) -> "_Rows":
        weights = choose_class_weights(config.class_weights, labels, Counter(train.labels))
        return cls(
            train.encode(start.vocab, start.cased, config.max_seq_length),
            train.label_ids(labels),
            held_out.encode(start.vocab, start.cased, config.max_seq_length),
            held_out.label_ids(labels),
            np.array(weights, np.float32),
            config,
        )

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.train) / self.config.train_batch_size)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0. An epoch is all rows once; its last batch is filled up with padding."""
        epoch, place = divmod(step, self.steps_per_epoch)
        size = self.config.train_batch_size
        rows = _order_of(self.config.random_seed, epoch, len(self.train))[place * size : (place + 1) * size]
        label_ids = np.zeros((size, 1), np.int32)
        label_ids[: len(rows), 0] = self.train_labels[rows]
        features: Batch = self.train.features(rows, self.config.max_seq_length, size)
        return {**features, "label_ids": label_ids, "label_weights": self.label_weights[label_ids]}


@lru_cache(1)
def _order_of(random_seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
    """The order of the rows in an epoch."""
    return np.random.default_rng([random_seed, epoch]).permutation(rows)


@dataclass
class _Finetuning:
    """A fine-tuning on its way."""

    folder: Path
    config: FinetuneConfig
    rows: _Rows
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

    def finish(self) -> tuple[dict[str, float], Confusion]:
        """Measures the best epoch once more, and writes what it comes to."""
        restore_finetuned(self.folder, self.model.named_weights, "best")
        metrics, confusion = self._measure()
        write_results(self.folder, metrics)
        draw_confusion(self.folder, confusion, read_finetuning(self.folder)["labels"])
        return metrics, confusion

    def _is_epoch_done(self) -> bool:
        return self.step > 0 and self.step % self.rows.steps_per_epoch == 0

    def _read(self) -> None:
        """Adds up the steps that were not read yet, one by one: so that it does not matter when they are read."""
        before = self.step - len(self.unread)
        for number, losses in enumerate(self.unread, start=before + 1):
            values = {name: float(losses[name]) for name in self.model.sum_names}
            if not math.isfinite(values["loss_sum"]):
                raise InputError(
                    f"the loss of step {number} is {values['loss_sum']}; likely causes: a learning_rate of "
                    f"{self.config.learning_rate} that is too high, or weights that are not finite; fine-tune into a "
                    "new folder with a lower one"
                )
            for name, value in values.items():
                self.sums[name] += value
        self.unread = []

    def _report(self, rows_per_second: float) -> None:
        means = self._means()
        self.hooks.report(
            FinetuneProgress(self.step, self.num_train_steps, means["loss"], means["accuracy"], rows_per_second)
        )

    def _means(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.model.metrics_of(self.sums).items()}

    def _save(self) -> None:
        state = {**self.optimizer.weights, **self.optimizer.variables}
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
        epoch = self.step // self.rows.steps_per_epoch
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

        num_labels, labels = len(self.rows.label_weights), self.rows.held_out_labels
        logits = predict_logits(run_eval, self.rows.held_out, num_labels, self.config.max_seq_length)
        of_labels = softmax(logits.astype(np.float64))[np.arange(len(labels)), labels]
        confusion = count_confusion(labels, logits.argmax(axis=1), num_labels)
        loss = float(-np.log(np.maximum(of_labels, 1e-300)).mean())
        return {"loss": loss, **metrics_of_confusion(confusion)}, confusion


def _goodness(metrics: dict[str, Any], prefix: str = "") -> tuple[float, float]:
    """What the best epoch has the most of."""
    return metrics[f"{prefix}macro_f1"], -metrics[f"{prefix}loss"]


class _EvaluationStoppedError(Exception):
    """A signal came while a model was evaluated."""
