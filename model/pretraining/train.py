"""Trains a BERT on datasets. The same call again goes on where the last one stopped, to the very same weights."""

import json
import logging
import math
import os
import signal
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keras import ops

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.first_weights import begin_with_neighbours
from maskmill.model.bert.heads import SUMS, known_metrics
from maskmill.model.formats.checkpoint_formats import read_init_checkpoint
from maskmill.model.formats.init_checkpoint import initialize
from maskmill.model.formats.model_dir import open_model_dir, read_training
from maskmill.model.formats.names import TRAINING
from maskmill.model.pretraining.batches import name_examples, train_batches
from maskmill.model.pretraining.config import PhaseRequest, TrainConfig
from maskmill.model.pretraining.description import describe_training
from maskmill.model.pretraining.evaluate import EVAL_BATCH_SIZE, evaluate_split
from maskmill.model.pretraining.examples import Bookmarks, name_bookmark, read_bookmarks
from maskmill.model.pretraining.phases import Phase, Plan, adam_settings
from maskmill.model.pretraining.plateau import PlateauWatch
from maskmill.model.pretraining.speed import steps_that_fit
from maskmill.model.training.checkpoint import list_checkpoints, read_best, read_newest, read_numbers, restore
from maskmill.model.training.distribution import Devices, find_devices
from maskmill.model.training.flops import measure_peak
from maskmill.model.training.loop import Hooks, Loop, Policy, Stretch
from maskmill.model.training.memory import want_of_memory
from maskmill.model.training.meter import Meter, NotFiniteError, TrainProgress
from maskmill.model.training.metrics_log import MetricsLog, draw_training
from maskmill.model.training.optimization import AdamWeightDecay
from maskmill.model.training.profiling import Profiler
from maskmill.model.training.signals import signals_deferred
from maskmill.model.training.step import Batch, EvalStep, Losses, TrainStep, eval_step, train_step
from maskmill.pipeline.storage.storage import AnyPath, absolute, write_text
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import parse_tokens

BAD_BATCH = "bad_batch.json"

Datasets = AnyPath | Sequence[PhaseRequest | tuple[AnyPath, int | None]]

logger = logging.getLogger(__name__)


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
        phases = [PhaseRequest(datasets, train_config.num_train_steps)]
    else:
        phases = [PhaseRequest(*one) for one in datasets]
    devices, folder, hooks = find_devices(), Path(model_dir), hooks or Hooks()
    with devices.together():
        parts = train_config.gradient_accumulation_steps
        devices.check_batch("train_batch_size", train_config.train_batch_size, parts)
        _require_possible(phases, train_config, start)
        plan = Plan.load(phases, bert_config, train_config)
        before = _training_before(folder)
        if before and not any(phase["first_batch"] for phase in before["phases"]):
            plan = plan.from_first_batches()  # as an older maskmill began it
    if train_config.max_time is not None:
        with want_of_memory(*_too_large(plan.phases[0], train_config)):
            # Those that fitted when it began: a schedule does not change on the way.
            steps = before["train_config"].get("num_train_steps") if before else None
            steps = steps or steps_that_fit(plan.phases[0], bert_config, train_config, devices)
        plan = plan.with_steps(steps)
    if before and train_config.num_warmup_steps is None:  # as it began, whatever is chosen today
        warmup = before["train_config"].get("num_warmup_steps")
        train_config = replace(train_config, num_warmup_steps=warmup)
    with devices.together():
        schedule = plan.schedule(train_config)
        steps, warmup = schedule.num_train_steps, schedule.num_warmup_steps
        config = replace(train_config, num_train_steps=steps, num_warmup_steps=warmup)
        first = plan.phases[0]
        vocab_text = first.dataset.read_vocab().decode()
        description = describe_training(plan, bert_config, config, absolute(start.init_checkpoint) if start else None)
    devices.require_same(description)
    hooks.begins(steps)

    with want_of_memory(f"a BERT of {bert_config.num_weights:,} weights, with optimizer", "a smaller --bert-config"):
        model = BertPretrainer(bert_config, config.random_seed, config.precision)
        if config.first_weights == "neighbours":
            begin_with_neighbours(model)
        optimizer = AdamWeightDecay(model.named_weights, schedule, adam_settings(config))
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
            restore(arrays, optimizer.state)
            del arrays

        with signals_deferred() as signals, closing(MetricsLog(folder, step, devices.writes)) as log:
            peak = measure_peak(config.precision) * devices.count
            numbers = read_numbers(folder, step) if step else {}
            sums = {name: numbers.get(name, 0.0) for name in SUMS}
            watch = PlateauWatch(config, bert_config.vocab_size, has_first_weights=start is None)

            def report(now: TrainProgress) -> None:
                if warning := watch.look(now):
                    logger.warning(warning)
                hooks.report(now)

            course = _Pretraining(
                folder, config, plan, model, optimizer, devices, watch, profile, read_bookmarks(numbers)
            )
            meter = Meter(schedule, step, sums, known_metrics, log, report, config.save_summary_steps, peak)
            policy = Policy(steps, config.save_checkpoints_steps, config.keep_checkpoints, config.eval_every)
            loop = Loop(folder, course, optimizer, eval_step(model), meter, policy, hooks, signals, devices)
            loop.run()
        if devices.writes:
            draw_training(folder)
        if loop.stops and signals.got == signal.SIGINT:
            raise KeyboardInterrupt
        return meter.step


def _require_possible(phases: Sequence[PhaseRequest], config: TrainConfig, start: Start | None) -> None:
    """Raises InputError where a training is asked for two things of which it can do one."""
    if config.first_weights == "neighbours" and start:
        raise InputError(
            f"first_weights is neighbours, and init_checkpoint is {start.init_checkpoint}", way_out="give one of them"
        )
    if config.max_time is not None and [phase.num_train_steps for phase in phases] != [None]:
        raise InputError(
            f"max_time is {config.max_time}, and the number of steps is given as well",
            way_out="give one, for one dataset",
        )


def _training_before(folder: Path) -> dict[str, Any] | None:
    """The description of the training that a folder holds, and that can go on; None where there is no such one."""
    if not list_checkpoints(folder) or not (folder / TRAINING).exists():
        return None
    return read_training(folder)


def _too_large(phase: Phase, config: TrainConfig) -> tuple[str, str]:
    """What may not fit into memory, and what to give then."""
    return (
        f"a step on {config.train_batch_size:,} sequences of {phase.info.max_seq_length} tokens",
        f"--gradient-accumulation-steps {2 * config.gradient_accumulation_steps}, which changes no gradient, or a "
        "smaller --train-batch-size",
    )


@dataclass(frozen=True)
class _Pretraining:
    """The phases of a training, one after the other: a `Course`."""

    folder: Path
    config: TrainConfig
    plan: Plan
    model: BertPretrainer
    optimizer: AdamWeightDecay
    devices: Devices
    watch: PlateauWatch
    profile: bool
    bookmarks: dict[int, Bookmarks]  # by the number of the first phase on a dataset of tokens

    def stretches(self, meter: Meter) -> Generator[Stretch, None, None]:
        for phase in self.plan.left_at(meter.step):
            first_step = meter.step
            profiler = Profiler(self.folder, self.profile and self.devices.writes, steps=phase.last_step - first_step)
            with closing(profiler), closing(self._batches(phase, first_step)) as batches:
                yield Stretch(
                    self.plan.pace(phase, self.model.config, self.config),
                    batches,
                    self._step(phase, profiler),
                    _too_large(phase, self.config),
                )

    def _batches(self, phase: Phase, step: int) -> Generator[Batch, None, None]:
        return train_batches(
            phase.dataset,
            self.config.train_batch_size,
            self.config.random_seed,
            phase.batch_at(step),
            self.devices.host,
            self.devices.num_hosts,
            self._bookmarks_of(phase),
        )

    def _step(self, phase: Phase, profiler: Profiler) -> TrainStep:
        config = self.config
        on_devices = train_step(
            self.model, self.optimizer, config.random_seed, config.gradient_accumulation_steps, phase.remask
        )

        def run_step(batch: Batch) -> Losses:
            profiler.step_begins()
            self.watch.count(batch)
            losses = on_devices(self.devices.place(batch))
            profiler.step_done(losses["loss"])
            return losses

        return run_step

    def evaluate(self, run_step: EvalStep, step: int) -> dict[str, float]:
        phase = self.plan.phase_of(step)
        batch_size = EVAL_BATCH_SIZE * self.devices.count
        return evaluate_split(run_step, phase.dataset, "eval", batch_size, self.devices)

    def is_best(self, metrics: dict[str, float], step: int) -> bool:
        best_step, best_loss = read_best(self.folder) or (0, math.inf)
        phase = self.plan.phase_of(step)
        if not phase.first_step < best_step <= phase.last_step:  # its loss is that of other documents, or lengths
            best_loss = math.inf
        return metrics["loss"] < best_loss

    def columns(self, meter: Meter) -> dict[str, float]:
        return {}

    def _bookmarks_of(self, phase: Phase) -> Bookmarks:
        return self.bookmarks.setdefault(self.plan.first_phase_on(phase.dataset), {})

    def numbers(self, step: int) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for number, bookmarks in self.bookmarks.items():
            batches = self.plan.batches_done(self.plan.phases[number].dataset, step)
            numbers |= name_bookmark(number, bookmarks, batches * self.config.train_batch_size)
        return numbers

    def require_unchanged(self, step: int) -> None:
        self.plan.phase_of(step).dataset.require_unchanged()

    def explain(self, error: NotFiniteError) -> InputError:
        """Writes which examples were in the batch of the step that went wrong, too."""
        phase, config = self.plan.phase_of(error.step), self.config  # perhaps the one before: losses are read later
        batch = phase.batch_at(error.step - 1)
        names = name_examples(
            phase.dataset, config.train_batch_size, config.random_seed, batch, self._bookmarks_of(phase)
        )
        if self.devices.writes:
            write_text(self.folder / BAD_BATCH, json.dumps({"step": error.step, "examples": names}, indent=1) + "\n")
        causes = [f"a learning_rate of {config.learning_rate} that is too high or warms up too fast"]
        if config.precision != "float32":
            causes.append(f"--precision {config.precision}")
        if error.step == 1:
            causes.append("weights to begin with that are not finite")
        rate = float(ops.convert_to_numpy(self.optimizer.schedule.at(error.step)))
        return InputError(
            f"{error.what}, at a learning rate of {rate:.3g}; {error.loss_before}; likely causes: {', '.join(causes)}; "
            "train into a new folder with a lower one or a longer warm-up",
            way_out=f"the examples of that batch are in {self.folder / BAD_BATCH}",
        )
