"""How many steps fit into a time, by a few steps that are thrown away."""

import time
from contextlib import closing
from dataclasses import dataclass

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.pretraining.batches import train_batches
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.phases import Phase, adam_settings
from maskmill.model.training.distribution import Devices
from maskmill.model.training.optimization import AdamWeightDecay, Schedule
from maskmill.model.training.step import train_step

_SHARE_TO_MEASURE = 0.02  # of the time that there is
_LEAST_SECONDS, _MOST_SECONDS = 3.0, 30.0
_KEPT_BACK = 0.02  # for checkpoints, and the curve at the end
_STEPS_TOGETHER = 20
_EVALUATION = 1 / 3  # of the time that training on as many sequences takes


@dataclass(frozen=True)
class Speed:
    """What a training takes on this machine, in seconds."""

    compilation: float  # of a step, the first of them included
    step: float

    def steps_in(self, seconds: float, steps_of_evaluation: float, eval_every: int | None) -> int:
        """How many steps fit, with an evaluation every so often that takes as long as so many steps; at least one.

        >>> Speed(compilation=10, step=0.5).steps_in(110, steps_of_evaluation=0, eval_every=None)
        195
        >>> Speed(compilation=10, step=0.5).steps_in(110, steps_of_evaluation=50, eval_every=50)
        97
        """
        seconds = seconds * (1 - _KEPT_BACK) - self.compilation
        of_step = self.step * (1 + (steps_of_evaluation / eval_every if eval_every else 0))
        return max(1, int(seconds / of_step))


def steps_that_fit(phase: Phase, bert: BertConfig, config: TrainConfig, devices: Devices) -> int:
    """The steps of a training that end `config.max_time` seconds after this was called.

    Takes steps of a model of its own for a few seconds, which is all that is left of them.
    """
    assert config.max_time is not None
    began = time.monotonic()
    speed = measure_speed(phase, bert, config, devices)
    of_evaluation = _EVALUATION * phase.info.examples_of("eval") / config.train_batch_size
    left = config.max_time - (time.monotonic() - began)
    return devices.least(speed.steps_in(left, of_evaluation, config.eval_every))


def measure_speed(phase: Phase, bert: BertConfig, config: TrainConfig, devices: Devices) -> Speed:
    """Takes steps for a few seconds: a fiftieth of `config.max_time`, from 3 to 30 seconds."""
    assert config.max_time is not None
    seconds = min(max(_SHARE_TO_MEASURE * config.max_time, _LEAST_SECONDS), _MOST_SECONDS)
    model = BertPretrainer(bert, config.random_seed, config.precision)
    optimizer = AdamWeightDecay(model.named_weights, Schedule(config.learning_rate, 1000, 100), adam_settings(config))
    run_step = train_step(model, optimizer, config.random_seed, config.gradient_accumulation_steps, phase.remask)
    size, hosts = config.train_batch_size, (devices.host, devices.num_hosts)
    with closing(train_batches(phase.dataset, size, config.random_seed, 0, *hosts)) as batches:

        def take_step() -> None:
            float(run_step(devices.place(next(batches)))["loss"])  # waits for the device

        began = time.monotonic()
        take_step()
        compiled = time.monotonic()
        steps = 0
        # Hosts take each step together, so none may take more of them than another.
        while steps < _STEPS_TOGETHER if devices.num_hosts > 1 else time.monotonic() - compiled < seconds:
            take_step()
            steps += 1
    return Speed(compiled - began, (time.monotonic() - compiled) / steps)
