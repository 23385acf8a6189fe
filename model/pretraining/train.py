"""Trains a BERT on datasets. The same call again goes on where the last one stopped, to the very same weights."""

import json
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maskmill.model.bert.config import BertConfig, TrainConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.first_weights import begin_with_neighbours
from maskmill.model.formats.checkpoint_formats import read_init_checkpoint
from maskmill.model.formats.init_checkpoint import initialize
from maskmill.model.formats.model_dir import TRAINING, describe_training, open_model_dir, read_training
from maskmill.model.pretraining.dataset import name_examples, train_batches
from maskmill.model.pretraining.evaluate import EVAL_BATCH_SIZE, evaluate_split
from maskmill.model.pretraining.phases import Phase, Plan
from maskmill.model.pretraining.plateau import PlateauWatch
from maskmill.model.pretraining.speed import steps_that_fit
from maskmill.model.training.checkpoint import (  # fmt: skip
    find_not_finite,
    list_checkpoints,
    read_best,
    read_newest,
    read_sums,
    restore,
    save_best,
    save_checkpoint,
    state_of,
)
from maskmill.model.training.distribution import Devices, find_devices
from maskmill.model.training.flops import measure_peak
from maskmill.model.training.memory import want_of_memory
from maskmill.model.training.meter import Meter, NotFiniteError, TrainProgress
from maskmill.model.training.metrics_log import MetricsLog, draw_training, read_metrics
from maskmill.model.training.optimization import AdamWeightDecay, settings_of
from maskmill.model.training.profiling import Profiler
from maskmill.model.training.signals import Signals, signals_deferred
from maskmill.model.training.step import Batch, Losses, eval_step, train_step
from maskmill.pipeline.storage.storage import AnyPath, absolute, write_text
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import parse_tokens

BAD_BATCH = "bad_batch.json"

Datasets = AnyPath | Sequence[tuple[AnyPath, int | None]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hooks:
    """Who wants to hear of a training while it goes on."""

    report: Callable[[TrainProgress], None] = lambda progress: None  # about once a second
    evaluated: Callable[[int, dict[str, float], bool], None] = lambda step, metrics, is_best: None
    saved: Callable[[], None] = lambda: None  # after each checkpoint
    begins: Callable[[int], None] = lambda num_train_steps: None  # once the number of steps is known


@dataclass(frozen=True)
class Start:
    """The weights that a training begins with, where not with new ones."""

    init_checkpoint: str  # `read_init_checkpoint` says what that may be
    resize_embeddings: bool = False  # `initialize` says what that does


def train(
    datasets: Datasets,
    model_dir: str | os.PathLike[str],
    bert_config: BertConfig,
    train_config: TrainConfig,
    hooks: Hooks | None = None,
    start: Start | None = None,
    profile: bool = False,
) -> int:
    """Trains into `model_dir`, from its newest checkpoint if it has one -> the number of steps the model has now.

    `datasets` is the folder of a dataset; or several, each with the number of steps to take on it, one after the other.
    Writes checkpoints, the best of them by its loss on the held-out documents, `metrics.jsonl`, TensorBoard events and
    at the end `training.png`; with `profile` a trace of a few steps, for TensorBoard.

    SIGTERM ends it after a checkpoint, and so does Ctrl-C, which raises KeyboardInterrupt then. Raises InputError when
    datasets, configuration and folder do not fit, a loss or a weight is not finite, or a step does not fit into memory.
    """
    if isinstance(datasets, str | os.PathLike):
        datasets = [(datasets, train_config.num_train_steps)]
    devices, folder, hooks = find_devices(), Path(model_dir), hooks or Hooks()
    with devices.together():
        parts = train_config.gradient_accumulation_steps
        devices.check_batch("train_batch_size", train_config.train_batch_size, parts)
        _require_possible(datasets, train_config, start)
        plan = Plan.load(datasets, bert_config, train_config)
        before = _training_before(folder)
        if before and not any(phase["first_batch"] for phase in before["phases"]):
            plan = plan.from_first_batches()  # as an older maskmill began it
    if train_config.max_time is not None:
        with _want_of_memory(plan.phases[0], train_config):
            # Those that fitted when it began: a schedule does not change on the way.
            steps = before["train_config"].get("num_train_steps") if before else None
            steps = steps or steps_that_fit(plan.phases[0], bert_config, train_config, devices)
        plan = plan.with_steps(steps)
    with devices.together():
        schedule = plan.schedule(train_config)
        steps, warmup = schedule.num_train_steps, schedule.num_warmup_steps
        config = replace(train_config, num_train_steps=steps, num_warmup_steps=warmup)
        first = plan.phases[0]
        vocab_text = first.info.read_vocab(first.directory).decode()
        description = describe_training(plan, bert_config, config, absolute(start.init_checkpoint) if start else None)
    devices.require_same(description)
    hooks.begins(steps)

    with want_of_memory(f"a BERT of {bert_config.num_weights:,} weights, with optimizer", "a smaller --bert-config"):
        model = BertPretrainer(bert_config, config.random_seed, config.precision)
        if config.first_weights == "neighbours":
            begin_with_neighbours(model)
        optimizer = AdamWeightDecay(model.named_weights, schedule, settings_of(config))
    with ExitStack() as stack:
        with devices.together():
            if start and not list_checkpoints(folder):  # before the folder is made: it may be refused
                found = read_init_checkpoint(start.init_checkpoint)
                tokens, cased = parse_tokens(vocab_text), plan.phases[0].info.config["cased"]
                for note in initialize(model, found, tokens, start.resize_embeddings, cased):
                    logger.warning(note)
            if devices.writes:
                stack.enter_context(open_model_dir(folder, description, vocab_text))
            step, arrays = read_newest(folder) or (0, None)
        devices.require_same({"the newest checkpoint at step": step})
        if arrays:
            restore(arrays, state_of(model, optimizer))
            del arrays

        with signals_deferred() as signals, closing(MetricsLog(folder, step, devices.writes)) as log:
            peak = measure_peak(config.precision) * devices.count
            sums = read_sums(folder, step) if step else None
            watch = PlateauWatch(config, bert_config.vocab_size, has_first_weights=start is None)

            def report(now: TrainProgress) -> None:
                if warning := watch.look(now):
                    logger.warning(warning)
                hooks.report(now)

            meter = Meter(config, schedule, step, log, report, peak, sums)
            training = _Training(
                folder, config, plan, model, optimizer, devices, meter, watch, log, hooks, signals, step > 0
            )
            training.catch_up()
            for phase in plan.left_at(step):
                if training.stops:
                    break
                steps = phase.last_step - meter.step
                with closing(Profiler(folder, profile and devices.writes, steps)) as profiler:
                    training.run(phase, profiler)
        if devices.writes:
            draw_training(folder)
        if training.stops and signals.got == signal.SIGINT:
            raise KeyboardInterrupt
        return meter.step


def _require_possible(datasets: Sequence[tuple[AnyPath, int | None]], config: TrainConfig, start: Start | None) -> None:
    """Raises InputError where a training is asked for two things of which it can do one."""
    if config.first_weights == "neighbours" and start:
        raise InputError(
            f"first_weights is neighbours, and init_checkpoint is {start.init_checkpoint}", way_out="give one of them"
        )
    if config.max_time is not None and [steps for _, steps in datasets] != [None]:
        raise InputError(
            f"max_time is {config.max_time}, and the number of steps is given as well",
            way_out="give one, for one dataset",
        )


def _training_before(folder: Path) -> dict[str, Any] | None:
    """The description of the training that a folder holds, and that can go on; None where there is no such one."""
    if not list_checkpoints(folder) or not (folder / TRAINING).exists():
        return None
    return read_training(folder)


def _want_of_memory(phase: Phase, config: TrainConfig) -> AbstractContextManager[None]:
    """Within it, a want of memory comes as a sentence that tells the way out."""
    return want_of_memory(
        f"a step on {config.train_batch_size:,} sequences of {phase.info.max_seq_length} tokens",
        f"--gradient-accumulation-steps {2 * config.gradient_accumulation_steps}, which changes no gradient, or a "
        "smaller --train-batch-size",
    )


@dataclass
class _Training:
    """A training on its way."""

    folder: Path
    config: TrainConfig
    plan: Plan
    model: BertPretrainer
    optimizer: AdamWeightDecay
    devices: Devices
    meter: Meter
    watch: PlateauWatch
    log: MetricsLog
    hooks: Hooks
    signals: Signals
    has_checkpoint: bool
    stops: bool = False

    def __post_init__(self) -> None:
        self.run_eval = eval_step(self.model)

    def catch_up(self) -> None:
        """Makes up for an evaluation that was due, and that the run before this one did not come to."""
        step = self.meter.step
        if self._evaluates_at(step) and not any(
            row["step"] == step and "eval_loss" in row for row in read_metrics(self.folder)
        ):
            self._evaluate(self.plan.phase_of(step))

    def run(self, phase: Phase, profiler: Profiler) -> None:
        """Takes the steps of a phase that are left, or those until a signal."""
        config = self.config
        run_step = train_step(
            self.model,
            self.optimizer,
            config.random_seed,
            config.gradient_accumulation_steps,
            phase.remask,
        )
        self.meter.begin(phase, self.plan.flops_after(phase.last_step, self.model.config, config), self.model.config)
        batches = train_batches(
            phase.info,
            phase.directory,
            config.train_batch_size,
            config.random_seed,
            phase.batch_at(self.meter.step),
            self.devices.host,
            self.devices.num_hosts,
        )
        with closing(batches):
            while self.meter.step < phase.last_step and not self.stops:
                with _want_of_memory(phase, config):
                    profiler.step_begins()
                    batch = next(batches)
                    self.watch.count(batch)
                    losses = run_step(self.devices.place(batch))
                    profiler.step_done(losses["loss"])
                    self._add(losses)
                self._after_step(phase)

    def _add(self, losses: Losses | None) -> None:
        """Tells the meter of a step, or has it read what it was told; tells of a batch whose loss is not finite."""
        try:
            if losses is None:
                self.meter.read()
            else:
                self.meter.add(losses)
        except NotFiniteError as error:
            raise self._with_bad_batch(error) from error

    def _with_bad_batch(self, error: NotFiniteError) -> InputError:
        """Writes which examples were in the batch of a step that went wrong -> the error that says where."""
        phase, config = self.plan.phase_of(error.step), self.config  # perhaps the one before: losses are read later
        batch = phase.batch_at(error.step - 1)
        names = name_examples(phase.info, phase.directory, config.train_batch_size, config.random_seed, batch)
        if self.devices.writes:
            write_text(self.folder / BAD_BATCH, json.dumps({"step": error.step, "examples": names}, indent=1) + "\n")
        return InputError(f"{error}", way_out=f"the examples of that batch are in {self.folder / BAD_BATCH}")

    def _after_step(self, phase: Phase) -> None:
        """Saves and evaluates, when it is time."""
        step, config = self.meter.step, self.config
        self.stops = self.devices.any_stops(step, self.signals.got is not None)
        evaluates = self._evaluates_at(step)
        saves = step % config.save_checkpoints_steps == 0 or step == config.num_train_steps or self.stops
        # The best checkpoint is never there alone: a run after this one would have nothing to go on from beside it.
        saves = saves or (evaluates and not self.has_checkpoint)
        if not (evaluates or saves):
            return
        self._add(None)  # stops at a loss that is not finite, before what it did to the weights is kept
        began = time.monotonic()
        self._require_finite()
        if saves:
            self._save(phase)
        if evaluates and not self.stops:
            self._evaluate(phase)
            if self.stops and not saves:
                self._save(phase)
        self.meter.leave_out(time.monotonic() - began)

    def _require_finite(self) -> None:
        """Stops at weights that the last update broke: none such is ever saved."""
        if name := find_not_finite(state_of(self.model, self.optimizer)):
            raise self._with_bad_batch(self.meter.describe_weight_not_finite(name))

    def _evaluates_at(self, step: int) -> bool:
        every = self.config.eval_every
        return every is not None and step > 0 and (step % every == 0 or step == self.config.num_train_steps)

    def _save(self, phase: Phase) -> None:
        phase.info.require_unchanged(phase.directory)
        with self.devices.together():
            if self.devices.writes:
                state = state_of(self.model, self.optimizer)
                save_checkpoint(self.folder, self.meter.step, state, self.config.keep_checkpoints, self.meter.sums)
                self.hooks.saved()
        self.has_checkpoint = True

    def _evaluate(self, phase: Phase) -> None:
        """Evaluates; a signal ends that at once, for it may take longer than whoever sent the signal waits."""

        def is_stopped() -> bool:
            return self.signals.got is not None and self.devices.num_hosts == 1  # several would have to agree on where

        def run_eval(features: Batch) -> Losses:
            if is_stopped():
                raise _EvaluationStoppedError
            return self.run_eval(features)

        batch_size = EVAL_BATCH_SIZE * self.devices.count
        with suppress(_EvaluationStoppedError):
            metrics = evaluate_split(run_eval, phase.info, phase.directory, "eval", batch_size, self.devices)
            with self.devices.together():
                self._keep(metrics, phase)
        self.stops = is_stopped()

    def _keep(self, metrics: dict[str, float], phase: Phase) -> None:
        """Logs an evaluation, and saves the weights if they are the best."""
        step, loss = self.meter.step, metrics["loss"]
        best_step, best_loss = read_best(self.folder) or (0, math.inf)
        if not phase.first_step < best_step <= phase.last_step:  # its loss is that of other documents, or lengths
            best_loss = math.inf
        is_best = loss < best_loss
        if is_best and self.devices.writes:
            save_best(self.folder, self.model.named_weights, step, loss)
        # After the best checkpoint: the evaluation is made again after an end in between, until it is logged.
        self.log.write(step, {f"eval_{name}": value for name, value in metrics.items()}, time.time())
        self.hooks.evaluated(step, metrics, is_best)


class _EvaluationStoppedError(Exception):
    """A signal came while a model was evaluated."""
