"""The loop of every training: its steps, its checkpoints, and its evaluations."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maskmill.model.training.checkpoint import find_not_finite, save_best, save_checkpoint
from maskmill.model.training.distribution import ONE_DEVICE, Devices
from maskmill.model.training.memory import want_of_memory
from maskmill.model.training.meter import Meter, NotFiniteError, Pace, TrainProgress
from maskmill.model.training.metrics_log import read_metrics
from maskmill.model.training.optimization import AdamWeightDecay
from maskmill.model.training.signals import Signals
from maskmill.model.training.step import Batch, EvalStep, Losses, TrainStep
from maskmill.tokenizer.errors import InputError


@dataclass(frozen=True)
class Hooks:
    """Who wants to hear of a training while it goes on."""

    report: Callable[[TrainProgress], None] = lambda progress: None  # about once a second
    evaluated: Callable[[int, dict[str, float], bool], None] = (  # after so many steps, in a fine-tuning epochs
        lambda number, metrics, is_best: None
    )
    saved: Callable[[], None] = lambda: None  # after each checkpoint
    begins: Callable[[int], None] = lambda num_train_steps: None  # once the number of steps is known


@dataclass(frozen=True)
class Policy:
    """When a training saves and evaluates."""

    num_train_steps: int
    save_every: int  # steps
    keep_checkpoints: int
    eval_every: int | None  # steps; None: never
    saves_what_it_evaluates: bool = False

    def evaluates_at(self, step: int) -> bool:
        """Whether the model is evaluated after a step."""
        return self.eval_every is not None and step > 0 and self._is_due(step, self.eval_every)

    def saves_at(self, step: int) -> bool:
        """Whether a checkpoint is written after a step, if there was one before."""
        return self._is_due(step, self.save_every) or (self.saves_what_it_evaluates and self.evaluates_at(step))

    def _is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.num_train_steps


@dataclass(frozen=True)
class Stretch:
    """The steps of a training that are alike, and left to take."""

    pace: Pace
    batches: Iterator[Batch]
    run_step: TrainStep
    too_large: tuple[str, str]  # `want_of_memory` has these: what does not fit into memory, and what to give then


class Course(Protocol):
    """What is trained on and evaluated on: all that one kind of training does in another way than the others."""

    def stretches(self, meter: Meter) -> Generator[Stretch, None, None]:
        """What is left after the steps of the meter. Closes what it opened for one when the next is asked for."""

    def evaluate(self, run_step: EvalStep, step: int) -> dict[str, float]:
        """The metrics on what is held out, `loss` among them, after a step."""

    def is_best(self, metrics: dict[str, float], step: int) -> bool:
        """Whether no evaluation before this one was as good."""

    def columns(self, meter: Meter) -> dict[str, float]:
        """What is logged beside an evaluation."""

    def numbers(self, step: int) -> dict[str, float]:
        """What a checkpoint holds, beside weights and sums, for a run that goes on after `step`."""

    def require_unchanged(self, step: int) -> None:
        """Raises InputError where what is trained on changed meanwhile."""

    def explain(self, error: NotFiniteError) -> InputError:
        """The error that says what to do."""


@dataclass
class Loop:
    """Trains a model along a course, from the step that its meter is at."""

    folder: Path
    course: Course
    optimizer: AdamWeightDecay  # with the weights of the model
    eval_step: EvalStep  # of the model
    meter: Meter
    policy: Policy
    hooks: Hooks
    signals: Signals
    devices: Devices = ONE_DEVICE
    stops: bool = False  # at a signal, before its last step

    def run(self) -> None:
        """Takes the steps that are left, or those until a signal."""
        self.has_checkpoint = self.meter.step > 0
        try:
            self._catch_up()
            with closing(self.course.stretches(self.meter)) as stretches:
                while not self.stops and (stretch := next(stretches, None)):
                    self.meter.begin(stretch.pace)
                    while self.meter.step < stretch.pace.last_step and not self.stops:
                        with want_of_memory(*stretch.too_large):
                            self.meter.add(stretch.run_step(next(stretch.batches)))
                        self._after_step()
        except NotFiniteError as error:
            raise self.course.explain(error) from error

    def _catch_up(self) -> None:
        """Makes up for an evaluation that was due, and that the run before this one did not come to."""
        step = self.meter.step
        if self.policy.evaluates_at(step) and not any(
            row["step"] == step and "eval_loss" in row for row in read_metrics(self.folder)
        ):
            self._evaluate()

    def _after_step(self) -> None:
        """Saves and evaluates, when it is time."""
        step = self.meter.step
        self.stops = self.devices.any_stops(step, self.signals.got is not None)
        evaluates = self.policy.evaluates_at(step)
        # The best checkpoint is never there alone: a run after this one would have nothing to go on from beside it.
        saves = self.policy.saves_at(step) or self.stops or (evaluates and not self.has_checkpoint)
        if not (evaluates or saves):
            return
        self.meter.read()  # stops at a loss that is not finite, before what it did to the weights is kept
        began = time.monotonic()
        if name := find_not_finite(self.optimizer.state):
            raise self.meter.weight_not_finite(name)
        if saves:
            self._save()
        if evaluates and not self.stops:
            self._evaluate()
            if self.stops and not saves:
                self._save()
        self.meter.leave_out(time.monotonic() - began)

    def _save(self) -> None:
        self.course.require_unchanged(self.meter.step)
        with self.devices.together():
            if self.devices.writes:
                state, keep = self.optimizer.state, self.policy.keep_checkpoints
                numbers = {**self.meter.sums, **self.course.numbers(self.meter.step)}
                save_checkpoint(self.folder, self.meter.step, state, keep, numbers)
                self.hooks.saved()
        self.has_checkpoint = True

    def _evaluate(self) -> None:
        """Evaluates; a signal ends that at once, for it may take longer than whoever sent the signal waits."""

        def run_step(features: Batch) -> Losses:
            if self._is_interrupted():
                raise _EvaluationStoppedError
            return self.eval_step(features)

        with suppress(_EvaluationStoppedError):
            metrics = self.course.evaluate(run_step, self.meter.step)
            with self.devices.together():
                self._keep(metrics)
        self.stops = self._is_interrupted()

    def _is_interrupted(self) -> bool:
        return self.signals.got is not None and self.devices.num_hosts == 1  # several would have to agree on where

    def _keep(self, metrics: dict[str, float]) -> None:
        """Logs an evaluation, and saves the weights if they are the best."""
        step, is_best = self.meter.step, self.course.is_best(metrics, self.meter.step)
        if is_best and self.devices.writes:
            save_best(self.folder, self.optimizer.weights, step, metrics["loss"])
        # After the best checkpoint: the evaluation is made again after an end in between, until it is logged.
        measured = {f"eval_{name}": value for name, value in metrics.items()}
        self.meter.log.write(step, {**self.course.columns(self.meter), **measured}, time.time())
        self.hooks.evaluated(step, metrics, is_best)


class _EvaluationStoppedError(Exception):
    """A signal came while a model was evaluated."""
