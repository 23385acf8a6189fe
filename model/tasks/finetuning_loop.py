"""The loop of a fine-tuning: its steps, its checkpoints, and the evaluation after each epoch."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskmill.model.pretraining.evaluate import write_results
from maskmill.model.tasks.classifier import BertClassifier
from maskmill.model.tasks.confusion import draw_confusion
from maskmill.model.tasks.finetune_config import FinetuneConfig
from maskmill.model.tasks.finetuned import read_finetuning, restore_finetuned
from maskmill.model.tasks.metrics import Confusion
from maskmill.model.tasks.predicting import measure_texts
from maskmill.model.tasks.rows import LabelledRows
from maskmill.model.training.checkpoint import find_not_finite, save_best, save_checkpoint
from maskmill.model.training.memory import want_of_memory
from maskmill.model.training.metrics_log import MetricsLog, read_metrics
from maskmill.model.training.optimization import AdamWeightDecay
from maskmill.model.training.signals import Signals
from maskmill.model.training.step import Batch, Losses, eval_step, train_step
from maskmill.tokenizer.errors import InputError

_SECONDS_BETWEEN_REPORTS = 1.0


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


@dataclass
class Finetuning:
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
            f"{what}; likely causes: a learning_rate of {self.config.learning_rate} that is too high, or weights "
            "that are not finite",
            way_out="fine-tune into a new folder with a lower one",
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
