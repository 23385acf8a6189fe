"""Trains a BERT on datasets. The same call again goes on where the last one stopped, to the very same weights."""

import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from model.bert import BertPretrainer
from model.checkpoint import list_checkpoints, read_best, read_newest, restore, save_best, save_checkpoint, state_of
from model.config import BertConfig, TrainConfig
from model.dataset import name_examples, train_batches
from model.distribution import Devices, find_devices
from model.dynamic_masking import MaskingRules, remask
from model.evaluate import evaluate_split
from model.flops import measure_peak
from model.init_checkpoint import initialize, read_init_checkpoint, tokens_of
from model.metrics_log import MetricsLog, draw_training
from model.model_dir import describe_training, open_model_dir
from model.optimization import AdamWeightDecay
from model.phases import Phase, Plan
from model.profiling import Profiler
from model.progress import LossNotFiniteError, Meter, TrainProgress
from model.step import Losses, TrainStep, eval_step, train_step
from pipeline.schema import VOCAB
from pipeline.storage import is_remote, read_bytes, write_text
from tokenizer.errors import InputError

BAD_BATCH = "bad_batch.json"
EVAL_BATCH_SIZE = 64

Datasets = str | os.PathLike[str] | Sequence[tuple[str | os.PathLike[str], int | None]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Hooks:
    """Who wants to hear of a training while it goes on."""

    report: Callable[[TrainProgress], None] = lambda progress: None  # about once a second
    evaluated: Callable[[int, dict[str, float]], None] = lambda step, metrics: None
    saved: Callable[[], None] = lambda: None  # after each checkpoint


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
    datasets, configuration and folder do not fit, a loss is not finite, or a step does not fit into memory.
    """
    if isinstance(datasets, str | os.PathLike):
        datasets = [(datasets, train_config.num_train_steps)]
    devices = find_devices()
    with devices.together():
        parts = train_config.gradient_accumulation_steps
        devices.check_batch("train_batch_size", train_config.train_batch_size, parts)
        plan = Plan.load(datasets, bert_config, train_config)
        schedule = plan.schedule(train_config)
        steps, warmup = schedule.num_train_steps, schedule.num_warmup_steps
        config = replace(train_config, num_train_steps=steps, num_warmup_steps=warmup)
        folder = Path(model_dir)
        vocab_text = read_bytes(os.path.join(plan.phases[0].directory, VOCAB)).decode()
        description = describe_training(plan, bert_config, config, _absolute(start.init_checkpoint) if start else None)
    devices.require_same(description)

    model = BertPretrainer(bert_config, config.random_seed, config.precision)
    optimizer = AdamWeightDecay(
        model.named_weights, schedule, config.weight_decay_rate, layer_adaptation=config.optimizer == "lamb"
    )
    with devices.together():
        if start and not list_checkpoints(folder):  # before the folder is made: it may be refused
            found = read_init_checkpoint(start.init_checkpoint)
            for note in initialize(model, found, tokens_of(vocab_text), start.resize_embeddings):
                logger.warning(note)
        if devices.writes:
            open_model_dir(folder, description, vocab_text)
        step, arrays = read_newest(folder) or (0, None)
    devices.require_same({"the newest checkpoint at step": step})
    if arrays:
        restore(arrays, state_of(model, optimizer))
        del arrays

    with _signals_deferred() as signals, closing(MetricsLog(folder, step, devices.writes)) as log:
        peak = measure_peak(config.precision) * devices.count
        meter = Meter(config, schedule, step, log, (hooks or Hooks()).report, peak)
        training = _Training(folder, config, plan, model, optimizer, devices, meter, log, hooks or Hooks(), signals)
        for phase in plan.left_at(step):
            with closing(Profiler(folder, profile and devices.writes)) as profiler:
                training.run(phase, profiler)
            if training.stops:
                break
    if devices.writes:
        draw_training(folder)
    if training.stops and signals.got == signal.SIGINT:
        raise KeyboardInterrupt
    return meter.step


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
    log: MetricsLog
    hooks: Hooks
    signals: "_Signals"
    stops: bool = False

    def __post_init__(self) -> None:
        self.run_eval = eval_step(self.model)

    def run(self, phase: Phase, profiler: Profiler) -> None:
        """Takes the steps of a phase that are left, or those until a signal."""
        config = self.config
        rules = MaskingRules.load(phase.info, phase.directory) if config.dynamic_masking else None
        run_step = train_step(
            self.model,
            self.optimizer,
            config.random_seed,
            config.gradient_accumulation_steps,
            (lambda features, key: remask(features, key, rules)) if rules else None,
        )
        self.meter.begin(phase, self.plan.flops_after(phase.last_step, self.model.config, config), self.model.config)
        batches = train_batches(
            phase.info,
            phase.directory,
            config.train_batch_size,
            config.random_seed,
            self.meter.step - phase.first_step,
            self.devices.host,
            self.devices.num_hosts,
        )
        with closing(batches):
            while self.meter.step < phase.last_step and not self.stops:
                with self._memory(phase):
                    losses = run_step(self.devices.place(next(batches)))
                    profiler.step_done(losses["loss"])
                    self._add(losses, phase)
                self._after_step(run_step, phase)

    @contextmanager
    def _memory(self, phase: Phase) -> Iterator[None]:
        """Within it, a want of memory comes as a sentence that tells the way out."""
        try:
            yield
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            more_parts = 2 * self.config.gradient_accumulation_steps
            raise InputError(
                f"a step on {self.config.train_batch_size} sequences of {phase.info.max_seq_length} tokens does not "
                f"fit into memory; give --gradient-accumulation-steps {more_parts}, which changes no gradient, or a "
                "smaller --train-batch-size"
            ) from error

    def _add(self, losses: Losses | None, phase: Phase) -> None:
        """Tells the meter of a step, or has it read what it was told; tells of a batch whose loss is not finite."""
        try:
            if losses is None:
                self.meter.read()
            else:
                self.meter.add(losses)
        except LossNotFiniteError as error:
            step_in_phase = error.step - 1 - phase.first_step
            names = name_examples(
                phase.info, phase.directory, self.config.train_batch_size, self.config.random_seed, step_in_phase
            )
            if self.devices.writes:
                write_text(
                    self.folder / BAD_BATCH, json.dumps({"step": error.step, "examples": names}, indent=1) + "\n"
                )
            raise InputError(f"{error}; the examples of that batch are in {self.folder / BAD_BATCH}") from error

    def _after_step(self, run_step: TrainStep, phase: Phase) -> None:
        """Evaluates and saves, when it is time."""
        step, config = self.meter.step, self.config
        is_last = step == config.num_train_steps
        evaluates = config.eval_every is not None and (step % config.eval_every == 0 or is_last)
        self.stops = self.devices.any_stops(step, self.signals.got is not None)
        saves = step % config.save_checkpoints_steps == 0 or is_last or self.stops
        if not (evaluates or saves):
            return
        self._add(None, phase)  # stops at a loss that is not finite, before what it did to the weights is kept
        began = time.monotonic()
        run_step.sync()
        if evaluates:
            self._evaluate(phase)
        if saves:
            with self.devices.together():
                if self.devices.writes:
                    save_checkpoint(self.folder, step, state_of(self.model, self.optimizer), config.keep_checkpoints)
                    self.hooks.saved()
        self.meter.leave_out(time.monotonic() - began)

    def _evaluate(self, phase: Phase) -> None:
        batch_size = EVAL_BATCH_SIZE * self.devices.count
        metrics = evaluate_split(self.run_eval, phase.info, phase.directory, "eval", batch_size, self.devices)
        self.log.write(self.meter.step, {f"eval_{name}": value for name, value in metrics.items()}, time.time())
        self.hooks.evaluated(self.meter.step, metrics)
        with self.devices.together():
            best = read_best(self.folder)
            if self.devices.writes and metrics["loss"] < (best[1] if best else math.inf):
                save_best(self.folder, self.model.named_weights, self.meter.step, metrics["loss"])


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(
        name in f"{type(error).__name__}: {error}" for name in ("ResourceExhausted", "RESOURCE_EXHAUSTED")
    )


def _absolute(path: str) -> str:
    return path if is_remote(path) else os.path.abspath(path)


@dataclass
class _Signals:
    """The signal that has come, if one has."""

    got: signal.Signals | None = None


@contextmanager
def _signals_deferred() -> Iterator[_Signals]:
    """Within it, Ctrl-C and SIGTERM are only noted: in the middle of a step, half of the state would be new.

    A second Ctrl-C, or SIGTERM, acts as ever.
    """
    signals = _Signals()
    if threading.current_thread() is not threading.main_thread():  # where no signal ever arrives
        yield signals
        return
    deferred = (signal.SIGINT, signal.SIGTERM)

    def note(number: int, _frame: object) -> None:
        signals.got = signal.Signals(number)
        signal.signal(number, before[signals.got])

    before = {number: signal.signal(number, note) for number in deferred}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
