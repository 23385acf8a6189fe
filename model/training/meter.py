"""How a training is going: reads the losses of its steps now and then, so that the device need not wait at each."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from keras import ops

from maskmill.model.training.metrics_log import MetricsLog
from maskmill.model.training.optimization import Schedule
from maskmill.model.training.step import Losses

_SECONDS_BETWEEN_REPORTS = 1.0


class NotFiniteError(ArithmeticError):
    """The loss of a step is infinite, or no number; or so is a weight after it."""

    def __init__(self, step: int, what: str, loss_before: str):
        super().__init__(f"{what}; {loss_before}")
        self.step, self.what, self.loss_before = step, what, loss_before


@dataclass(frozen=True)
class Pace:
    """What the steps up to `last_step` have in common: the speed of one tells that of the others."""

    last_step: int  # steps done after them
    batch_size: int
    seq_length: int
    flops: float = 1.0  # floating-point operations of a step
    flops_after: float = 0.0  # of all steps after `last_step`


@dataclass(frozen=True)
class TrainProgress:
    """Where a training stands."""

    step: int  # steps done
    num_train_steps: int
    metrics: dict[str, float]  # means since the last line of metrics.jsonl, in a fine-tuning over the epoch so far
    learning_rate: float
    sequences_per_second: float  # of this pace and run; 0 after its first step, which compiles and does not count
    tokens_per_second: float  # padding included
    mfu: float  # model FLOPs utilisation: share of what the device does in a large matrix product; 0 where unmeasured
    seconds_left: float  # without evaluations and checkpoints

    @property
    def loss(self) -> float:
        """The loss that is trained on."""
        return self.metrics["loss"]

    def line(self) -> dict[str, float]:
        """What stands in a line of metrics.jsonl: not the speed before it is known."""
        names = ["learning_rate"]
        if self.sequences_per_second:
            names += ["sequences_per_second", "tokens_per_second", "mfu"]
        return {**self.metrics, **{name: getattr(self, name) for name in names}}


@dataclass
class Meter:
    """Gathers the losses of every step; checks, reports and logs them."""

    schedule: Schedule
    step: int  # steps done
    sums: dict[str, float]  # of what the metrics are computed from, since the last line
    means_of: Callable[[dict[str, float]], dict[str, float]]  # such sums to metrics
    log: MetricsLog
    report: Callable[[TrainProgress], None]
    steps_per_line: int | None = None  # of metrics.jsonl; None where it has lines of evaluations alone
    peak_flops: float = math.inf  # floating-point operations a second that the devices can do

    def __post_init__(self) -> None:
        self.unread: list[Losses] = []
        self.last_loss = math.nan

    def begin(self, pace: Pace) -> None:
        """Begins steps of another pace."""
        self.pace = pace
        self.first_step = self.step
        self.first_time = self.last_time = -math.inf

    def add(self, losses: Losses) -> None:
        """Takes the losses of the next step. Raises NotFiniteError when a loss turns out not to be finite."""
        self.step += 1
        self.unread.append(losses)
        ends_line = self._ends_line()
        if ends_line or time.monotonic() > self.last_time + _SECONDS_BETWEEN_REPORTS:
            self.read()
            progress = self.progress()
            self.report(progress)
            if ends_line:
                self.log.write(self.step, progress.line(), time.time())
                self.clear()

    def read(self) -> None:
        """Waits for the device, and adds up the losses that have come. Raises NotFiniteError as `add` does."""
        for step, losses in enumerate(self.unread, start=self.step - len(self.unread) + 1):
            loss, before = float(losses["loss"]), self.last_loss
            if not math.isfinite(loss):
                said = "it began so" if math.isnan(before) else f"it was {before:.4g} the step before"
                raise NotFiniteError(step, f"the loss of step {step} is {loss}", said)
            self.last_loss = loss
            for name in self.sums:
                self.sums[name] += float(losses[name])
        self.unread = []
        self.last_time = time.monotonic()
        if self.first_time == -math.inf:
            self.first_step, self.first_time = self.step, self.last_time

    def clear(self) -> None:
        """Begins a new line: the metrics are means over the steps from here on."""
        self.sums = dict.fromkeys(self.sums, 0.0)

    def leave_out(self, seconds: float) -> None:
        """Takes no account of time that was not spent on steps."""
        self.first_time += seconds

    def progress(self) -> TrainProgress:
        """Where the training stood when it was last read."""
        pace, steps, seconds = self.pace, self.step - self.first_step, self.last_time - self.first_time
        steps_per_second = steps / seconds if steps else 0.0
        flops_left = pace.flops_after + pace.flops * (pace.last_step - self.step)
        flops_per_second = pace.flops * steps_per_second
        return TrainProgress(
            step=self.step,
            num_train_steps=self.schedule.num_train_steps,
            metrics=self.means_of(self.sums),
            learning_rate=float(ops.convert_to_numpy(self.schedule.at(self.step))),
            sequences_per_second=steps_per_second * pace.batch_size,
            tokens_per_second=steps_per_second * pace.batch_size * pace.seq_length,
            mfu=flops_per_second / self.peak_flops,
            seconds_left=flops_left / flops_per_second if steps else 0.0,
        )

    def weight_not_finite(self, name: str) -> NotFiniteError:
        """What to raise where the last step, all losses read, left a weight, or a moment of the optimizer, broken."""
        what = f"{name} is not finite after step {self.step}"
        return NotFiniteError(self.step, what, f"the loss was {self.last_loss:.4g}")

    def _ends_line(self) -> bool:
        every = self.steps_per_line
        return every is not None and (self.step % every == 0 or self.step == self.schedule.num_train_steps)
