"""How a training is going: reads the losses of its steps now and then, so that the device need not wait at each."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from keras import ops

from maskmill.model.bert.config import BertConfig, TrainConfig
from maskmill.model.bert.heads import SUMS, metrics_of
from maskmill.model.pretraining.phases import Phase, sequence_flops
from maskmill.model.training.metrics_log import MetricsLog
from maskmill.model.training.optimization import Schedule
from maskmill.model.training.step import Losses
from maskmill.tokenizer.errors import InputError

_SECONDS_BETWEEN_REPORTS = 1.0


class NotFiniteError(InputError):
    """The loss of a step is infinite, or no number; or so is a weight after it."""

    def __init__(self, step: int, sentence: str):
        super().__init__(sentence)
        self.step = step


@dataclass(frozen=True)
class TrainProgress:
    """Where a training stands. Losses and accuracies are means over the steps since the last line of metrics.jsonl."""

    step: int  # steps done
    num_train_steps: int
    loss: float
    masked_lm_loss: float
    masked_lm_accuracy: float
    next_sentence_loss: float  # 0 where the examples are no pairs, and so is the accuracy
    next_sentence_accuracy: float
    has_pairs: bool
    learning_rate: float
    sequences_per_second: float  # in this phase and run; 0 after its first step, which compiles and does not count
    tokens_per_second: float  # padding included
    mfu: float  # model FLOPs utilisation: share of what the device does in a large matrix product
    seconds_left: float  # without evaluations and checkpoints

    def metrics(self) -> dict[str, float]:
        """What is logged, by name: not what there is not, and not the speed before it is known."""
        left_out = {"step", "num_train_steps", "has_pairs", "seconds_left"}
        if not self.has_pairs:
            left_out |= {"next_sentence_loss", "next_sentence_accuracy"}
        if not self.sequences_per_second:
            left_out |= {"sequences_per_second", "tokens_per_second", "mfu"}
        return {name: value for name, value in asdict(self).items() if name not in left_out}


class Meter:
    """Gathers the losses of every step; checks, reports and logs them."""

    def __init__(
        self,
        config: TrainConfig,
        schedule: Schedule,
        step: int,
        log: MetricsLog,
        report: Callable[[TrainProgress], None],
        peak_flops: float,
        sums: Mapping[str, float] | None = None,
    ):
        """`step` steps are done already; `peak_flops` floating-point operations a second is what the devices can do.

        `sums` are those that this had when the checkpoint of that step was written.
        """
        self.config = config
        self.schedule = schedule
        self.step = step
        self.log = log
        self.report = report
        self.peak_flops = peak_flops
        self.unread: list[Losses] = []
        self.sums = {**dict.fromkeys(SUMS, 0.0), **(sums or {})}  # over the steps since the last line of the log
        self.loss_before = math.nan

    def begin(self, phase: Phase, flops_after: float, bert: BertConfig) -> None:
        """Begins a phase, after which `flops_after` floating-point operations are left to do."""
        self.phase = phase
        self.flops_after = flops_after
        self.flops = sequence_flops(phase, bert) * self.config.train_batch_size  # of a step
        self.first_step = self.step
        self.first_time = self.last_time = -math.inf

    def add(self, losses: Losses) -> None:
        """Takes the losses of the next step. Raises NotFiniteError when a loss turns out not to be finite."""
        self.step += 1
        self.unread.append(losses)
        ends_interval = self.step % self.config.save_summary_steps == 0 or self.step == self.schedule.num_train_steps
        if ends_interval or time.monotonic() > self.last_time + _SECONDS_BETWEEN_REPORTS:
            self.read()
            progress = self._progress()
            self.report(progress)
            if ends_interval:
                self.log.write(self.step, progress.metrics(), time.time())
                self.sums = dict.fromkeys(SUMS, 0.0)

    def read(self) -> None:
        """Waits for the device, and adds up the losses that have come. Raises NotFiniteError as `add` does."""
        for step, losses in enumerate(self.unread, start=self.step - len(self.unread) + 1):
            values = {name: float(losses[name]) for name in ("loss", *SUMS)}
            if not math.isfinite(values["loss"]):
                before = (
                    "it began so" if math.isnan(self.loss_before) else f"it was {self.loss_before:.4g} the step before"
                )
                raise self._not_finite(step, f"the loss of step {step} is {values['loss']}", before)
            self.loss_before = values["loss"]
            for name in SUMS:
                self.sums[name] += values[name]
        self.unread = []
        self.last_time = time.monotonic()
        if self.first_time == -math.inf:
            self.first_step, self.first_time = self.step, self.last_time

    def leave_out(self, seconds: float) -> None:
        """Takes no account of time that was not spent on steps."""
        self.first_time += seconds

    def _progress(self) -> TrainProgress:
        steps, seconds = self.step - self.first_step, self.last_time - self.first_time
        steps_per_second = steps / seconds if steps else 0.0
        flops_left = self.flops_after + self.flops * (self.phase.last_step - self.step)
        flops_per_second = self.flops * steps_per_second
        return TrainProgress(
            step=self.step,
            num_train_steps=self.schedule.num_train_steps,
            **metrics_of(self.sums),
            has_pairs=self.sums["next_sentence_weight"] > 0,
            learning_rate=float(ops.convert_to_numpy(self.schedule.at(self.step))),
            sequences_per_second=steps_per_second * self.config.train_batch_size,
            tokens_per_second=steps_per_second * self.config.train_batch_size * self.phase.info.max_seq_length,
            mfu=flops_per_second / self.peak_flops,
            seconds_left=flops_left / flops_per_second if steps else 0.0,
        )

    def describe_weight_not_finite(self, name: str) -> NotFiniteError:
        """What to raise where the last step, all losses read, left a weight, or a moment of the optimizer, broken."""
        return self._not_finite(
            self.step, f"{name} is not finite after step {self.step}", f"the loss was {self.loss_before:.4g}"
        )

    def _not_finite(self, step: int, what: str, before: str) -> NotFiniteError:
        rate = float(ops.convert_to_numpy(self.schedule.at(step)))
        causes = [f"a learning_rate of {self.config.learning_rate} that is too high or warms up too fast"]
        if self.config.precision != "float32":
            causes.append(f"--precision {self.config.precision}")
        if step == 1:
            causes.append("weights to begin with that are not finite")
        return NotFiniteError(
            step,
            f"{what}, at a learning rate of {rate:.3g}; {before}; "
            f"likely causes: {', '.join(causes)}; train into a new folder with a lower one or a longer warm-up",
        )
