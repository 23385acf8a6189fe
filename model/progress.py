"""How a training is going: reads the losses of its steps now and then, so that the device need not wait at each."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from keras import ops

from model.config import TrainConfig
from model.heads import SUMS, metrics_of
from model.metrics_log import MetricsLog
from model.optimization import Schedule
from model.step import Losses
from tokenizer.errors import InputError

_SECONDS_BETWEEN_REPORTS = 1.0
_NOT_LOGGED = ("step", "num_train_steps", "seconds_left")


@dataclass(frozen=True)
class TrainProgress:
    """Where a training stands. Losses and accuracies are means over the steps since the last line of metrics.jsonl."""

    step: int  # steps done
    num_train_steps: int
    loss: float
    masked_lm_loss: float
    masked_lm_accuracy: float
    next_sentence_loss: float
    next_sentence_accuracy: float
    learning_rate: float
    sequences_per_second: float  # in this run; 0 after its first step, which compiles and does not count
    seconds_left: float


class Meter:
    """Gathers the losses of every step; checks, reports and logs them."""

    def __init__(
        self,
        config: TrainConfig,
        schedule: Schedule,
        step: int,
        log: MetricsLog,
        report: Callable[[TrainProgress], None],
    ):
        self.config = config
        self.schedule = schedule
        self.step = self.first_step = step
        self.log = log
        self.report = report
        self.unread: list[Losses] = []
        self.sums = dict.fromkeys(SUMS, 0.0)  # over the steps since the last line of the log
        self.first_time = self.last_time = -math.inf

    def add(self, losses: Losses) -> None:
        """Takes the losses of the next step. Raises InputError when a loss turns out not to be finite."""
        self.step += 1
        self.unread.append(losses)
        ends_interval = self.step % self.config.save_summary_steps == 0 or self.step == self.schedule.num_train_steps
        if ends_interval or time.monotonic() > self.last_time + _SECONDS_BETWEEN_REPORTS:
            self.read()
            progress = self._progress()
            self.report(progress)
            if ends_interval:
                metrics = {name: value for name, value in asdict(progress).items() if name not in _NOT_LOGGED}
                self.log.write(self.step, metrics, time.time())
                self.sums = dict.fromkeys(SUMS, 0.0)

    def read(self) -> None:
        """Waits for the device, and adds up the losses that have come since. Raises InputError as `add` does."""
        for step, losses in enumerate(self.unread, start=self.step - len(self.unread) + 1):
            values = {name: float(losses[name]) for name in ("loss", *SUMS)}
            if not math.isfinite(values["loss"]):
                raise InputError(
                    f"the loss of step {step} is {values['loss']}: with learning_rate {self.config.learning_rate} "
                    "the training diverged; train into a new folder with a lower one, or a longer warm-up"
                )
            for name in SUMS:
                self.sums[name] += values[name]
        self.unread = []
        self.last_time = time.monotonic()
        if self.first_time == -math.inf:
            self.first_step, self.first_time = self.step, self.last_time

    def _progress(self) -> TrainProgress:
        steps, seconds = self.step - self.first_step, self.last_time - self.first_time
        steps_left = self.schedule.num_train_steps - self.step
        return TrainProgress(
            step=self.step,
            num_train_steps=self.schedule.num_train_steps,
            **metrics_of(self.sums),
            learning_rate=float(ops.convert_to_numpy(self.schedule.at(self.step))),
            sequences_per_second=steps * self.config.train_batch_size / seconds if steps else 0.0,
            seconds_left=steps_left * seconds / steps if steps else 0.0,
        )
