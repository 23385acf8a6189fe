"""Fine-tunes a BERT classifier. The same call again goes on where the last one stopped, to the same weights.

Source of the recipe: `run_classifier.py` of google-research/bert.
"""

import logging
import math
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from maskmill.model.bert.layers import assign
from maskmill.model.pretraining.evaluate import write_results
from maskmill.model.tasks.classifier import CLASSIFIER_STDDEV, BertClassifier
from maskmill.model.tasks.confusion import draw_confusion
from maskmill.model.tasks.finetune_config import FinetuneConfig
from maskmill.model.tasks.finetuned import (
    FinetunedBert,
    open_finetuned,
    open_finetuned_dir,
    read_finetuning,
    restore_finetuned,
)
from maskmill.model.tasks.metrics import Confusion, find_one_label
from maskmill.model.tasks.predicting import measure_texts
from maskmill.model.tasks.rows import LabelledRows
from maskmill.model.tasks.trained import TrainedBert
from maskmill.model.training.checkpoint import digest_of, read_newest, read_numbers, restore
from maskmill.model.training.loop import Hooks, Loop, Policy, Stretch
from maskmill.model.training.memory import require_countable
from maskmill.model.training.meter import Meter, NotFiniteError, Pace, TrainProgress
from maskmill.model.training.metrics_log import MetricsLog, read_metrics
from maskmill.model.training.optimization import AdamSettings, AdamWeightDecay, Schedule
from maskmill.model.training.signals import signals_deferred
from maskmill.model.training.step import Batch, EvalStep, eval_step, train_step
from maskmill.pipeline.storage.storage import absolute
from maskmill.pipeline.tables.labelled import HeldOut, LabelledTexts, find_labels
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import Vocab

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinetuneOutcome:
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

    @property
    def one_label(self) -> str | None:
        """The label that the best epoch takes (nearly) all held-out rows for, if so: it tells nothing apart."""
        place = None if self.confusion is None else find_one_label(self.confusion)
        return None if place is None else self.labels[place]


def finetune(
    start: TrainedBert,
    train: LabelledTexts,
    held_out: LabelledTexts,
    output: str | os.PathLike[str],
    config: FinetuneConfig | None = None,
    hooks: Hooks | None = None,
) -> FinetuneOutcome:
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
            f"max_seq_length is {config.max_seq_length}, {start.path} has {longest} positions",
            way_out=f"give --max-seq-length {longest} or less",
        )
    require_countable(start.model.config, config.max_seq_length)
    model = BertClassifier(
        start.model.config, len(labels), config.random_seed, config.precision, config.classifier_dropout_prob
    )
    init_sha256 = begin_with(model, start)
    if config.is_as_transformers:
        begin_as_transformers(model, config.random_seed)
    rows = LabelledRows.prepare(start, train, held_out, labels, config)
    description = describe(start, train, held_out, labels, config, init_sha256)
    return _train(model, start.vocab, rows, description, Path(output), hooks or Hooks())


def go_on(
    output: str | os.PathLike[str],
    train: LabelledTexts,
    held_out: LabelledTexts,
    config: FinetuneConfig,
    hooks: Hooks | None = None,
) -> FinetuneOutcome:
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
) -> FinetuneOutcome:
    """Takes the steps that are left in a folder, and measures the best epoch."""
    config, labels = rows.config, description["labels"]
    num_train_steps = config.steps_for(len(rows.train))
    optimizer = optimizer_of(model, config, num_train_steps)
    course = _Finetuning(folder, rows, model, optimizer, num_train_steps)
    policy = Policy(num_train_steps, config.save_checkpoints_steps, config.keep_checkpoints, rows.steps_per_epoch, True)
    run_eval = eval_step(model)
    with open_finetuned_dir(folder, description, vocab):
        step, arrays = read_newest(folder) or (0, None)
        sums = dict.fromkeys(model.sum_names, 0.0)
        if arrays:
            restore(arrays, optimizer.state)
            sums |= read_numbers(folder, step)  # none where a pruned model begins
            del arrays
        with signals_deferred() as signals, closing(MetricsLog(folder, step)) as log:
            hooks = course.by_epoch(hooks)
            meter = Meter(optimizer.schedule, step, sums, model.metrics_of, log, hooks.report)
            Loop(folder, course, optimizer, run_eval, meter, policy, hooks, signals).run()
        if signals.got == signal.SIGINT:
            raise KeyboardInterrupt
        if signals.got:
            return FinetuneOutcome(meter.step, num_train_steps, labels)
        best_step = restore_finetuned(folder, model.named_weights, "best")
        metrics, confusion = course.measure(run_eval)
        write_results(folder, metrics)
        draw_confusion(folder, confusion, labels)
        return FinetuneOutcome(meter.step, num_train_steps, labels, metrics, confusion, best_step)


@dataclass(frozen=True)
class _Finetuning:
    """All rows once in each epoch, and an evaluation after it: a `Course`."""

    folder: Path
    rows: LabelledRows
    model: BertClassifier
    optimizer: AdamWeightDecay
    num_train_steps: int

    def stretches(self, meter: Meter) -> Generator[Stretch, None, None]:
        config = self.rows.config
        yield Stretch(
            Pace(self.num_train_steps, config.train_batch_size, config.max_seq_length),
            self._batches(meter),
            train_step(self.model, self.optimizer, config.random_seed),
            (
                f"a step on {config.train_batch_size:,} rows of {config.max_seq_length} tokens",
                "a smaller --train-batch-size",
            ),
        )

    def _batches(self, meter: Meter) -> Iterator[Batch]:
        for step in range(meter.step, self.num_train_steps):
            if step % self.rows.steps_per_epoch == 0:
                meter.clear()  # after the epoch before was evaluated
            yield self.rows.batch(step)

    def evaluate(self, run_step: EvalStep, step: int) -> dict[str, float]:
        return self.measure(run_step)[0]

    def measure(self, run_step: EvalStep) -> tuple[dict[str, float], Confusion]:
        """The metrics of the model as it is on the held-out rows, and their confusion matrix."""
        rows, num_labels = self.rows, len(self.rows.label_weights)
        return measure_texts(run_step, rows.held_out, rows.held_out_labels, num_labels, rows.config.max_seq_length)

    def is_best(self, metrics: dict[str, float], step: int) -> bool:
        earlier = [row for row in read_metrics(self.folder) if row["step"] < step]
        return all(_goodness(metrics) > _goodness(row, "eval_") for row in earlier)

    def columns(self, meter: Meter) -> dict[str, float]:
        return {"epoch": self._epoch_at(meter.step), **meter.means_of(meter.sums)}

    def numbers(self, step: int) -> dict[str, float]:
        return {}

    def require_unchanged(self, step: int) -> None:
        pass  # the rows are in memory

    def explain(self, error: NotFiniteError) -> InputError:
        return InputError(
            f"{error.what}; likely causes: a learning_rate of {self.rows.config.learning_rate} that is too high, or "
            "weights that are not finite",
            way_out="fine-tune into a new folder with a lower one",
        )

    def by_epoch(self, hooks: Hooks) -> Hooks:
        """Hooks that hear of evaluations by the epoch, and of no step before its speed is known."""

        def report(now: TrainProgress) -> None:
            if now.sequences_per_second:
                hooks.report(now)

        def evaluated(step: int, metrics: dict[str, float], is_best: bool) -> None:
            hooks.evaluated(self._epoch_at(step), metrics, is_best)

        return replace(hooks, report=report, evaluated=evaluated)

    def _epoch_at(self, step: int) -> int:
        return math.ceil(step / self.rows.steps_per_epoch)


def _goodness(metrics: dict[str, Any], prefix: str = "") -> tuple[float, float]:
    """What the best epoch has the most of."""
    return metrics[f"{prefix}macro_f1"], -metrics[f"{prefix}loss"]


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


def begin_as_transformers(model: BertClassifier, random_seed: int) -> None:
    """Gives the classifier the first weights that transformers gives it: normal, with no tail cut off."""
    kernel = model.classifier.kernel
    rng = np.random.default_rng([random_seed, *b"classifier"])
    assign(kernel, rng.normal(0.0, CLASSIFIER_STDDEV, kernel.shape).astype(np.float32))


def optimizer_of(model: BertClassifier, config: FinetuneConfig, num_train_steps: int) -> AdamWeightDecay:
    """The optimizer of a training, before its first step."""
    warmup = int(num_train_steps * config.warmup_proportion)
    schedule = Schedule(config.learning_rate, num_train_steps, warmup, config.is_as_transformers)
    settings = AdamSettings(config.weight_decay_rate, bias_correction=config.optimizer == "adamw")
    return AdamWeightDecay(model.named_weights, schedule, settings)


def require_labels(found: FinetunedBert, train: LabelledTexts, held_out: LabelledTexts) -> None:
    """Raises InputError when rows have other labels than a classifier tells apart."""
    labels = find_labels(train, held_out)
    if labels != found.labels:
        other = min(set(labels) ^ set(found.labels))
        where = f"in {train.name} alone" if other in labels else f"on no row to train on of {train.name}"
        raise InputError(
            f"tells {', '.join(found.labels)} apart, and label {other!r} is {where}",
            way_out="give rows with the labels of the model",
            path=found.path,
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
        "cased": start.rules.cased,
        **({"tokenizer": rules} if (rules := start.rules.to_dict()) else {}),
        "vocab_sha256": start.vocab.sha256,
        "train_sha256": train.sha256,
        "eval_sha256": held_out.sha256,
        "held_out": asdict(held_out.split or HeldOut(absolute(held_out.name))),
        "init_model": start.path,
        "init_sha256": init_sha256,
    }
