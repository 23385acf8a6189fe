"""What a training goes through: one dataset, or several one after the other, each for so many steps."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from maskmill.model.bert.config import BertConfig
from maskmill.model.pretraining.batches import require_examples
from maskmill.model.pretraining.config import PhaseRequest, TrainConfig
from maskmill.model.pretraining.dynamic_masking import MaskingRules, remask
from maskmill.model.training.flops import train_flops
from maskmill.model.training.memory import require_countable
from maskmill.model.training.meter import Pace
from maskmill.model.training.optimization import AdamSettings, Schedule
from maskmill.model.training.step import Remask
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.tokenizer.errors import InputError

LEAST_WARMUP = 200  # steps, of the neighbour start


@dataclass(frozen=True)
class Phase:
    """A dataset, and the steps of the training that are taken on it."""

    dataset: Dataset
    first_step: int  # steps done before it
    last_step: int  # steps done after it
    rules: MaskingRules | None = None  # of --dynamic-masking, where that is wanted
    first_batch: int = 0  # of the dataset: as many were taken in earlier phases on it

    @property
    def info(self) -> DatasetInfo:
        """What the dataset says of itself."""
        return self.dataset.info

    @property
    def directory(self) -> str:
        """Where the dataset lies."""
        return self.dataset.directory

    def batch_at(self, step: int) -> int:
        """The number of the batch that is trained on after `step` steps of the training, counted over the dataset."""
        return self.first_batch + step - self.first_step

    @property
    def remask(self) -> Remask | None:
        """What masks a batch of this phase anew; None without --dynamic-masking."""
        rules = self.rules
        return (lambda features, key: remask(features, key, rules)) if rules else None


@dataclass(frozen=True)
class Plan:
    """The phases of a training.

    A phase on the dataset of an earlier one, told by its `identity`, goes on with the examples after it.
    """

    phases: tuple[Phase, ...]

    @classmethod
    def load(cls, datasets: Sequence[PhaseRequest], bert: BertConfig, config: TrainConfig) -> "Plan":
        """Reads and checks the datasets.

        Raises InputError when one does not fit the model or the others, or has not the examples of one batch.
        """
        phases: list[Phase] = []
        for request in datasets:
            dataset, steps = request.open(), request.num_train_steps
            check_fits(dataset, bert)
            require_countable(bert, dataset.info.max_seq_length)
            require_examples(dataset, "train", config.train_batch_size)
            if steps is None:
                examples = dataset.info.examples_of("train") * dataset.info.copies_of_pass
                steps = math.ceil(examples / config.train_batch_size)
            first_step = phases[-1].last_step if phases else 0
            rules = MaskingRules.load(dataset) if config.dynamic_masking else None
            same = (phase for phase in phases if phase.dataset.identity == dataset.identity)
            first_batch = sum(phase.last_step - phase.first_step for phase in same)
            phases.append(Phase(dataset, first_step, first_step + steps, rules, first_batch))
            _require_alike(phases, phases[-1])
            if config.eval_every is not None:
                require_examples(dataset, "eval")
        for phase in phases:
            phase.dataset.check_files()
        return cls(tuple(phases))

    @property
    def num_train_steps(self) -> int:
        """The steps of the whole training."""
        return self.phases[-1].last_step

    def with_steps(self, num_train_steps: int) -> "Plan":
        """The same of one phase, with so many steps."""
        (phase,) = self.phases
        return Plan((replace(phase, last_step=num_train_steps),))

    def from_first_batches(self) -> "Plan":
        """The same, where every phase begins with the first batch of its dataset."""
        return Plan(tuple(replace(phase, first_batch=0) for phase in self.phases))

    def schedule(self, config: TrainConfig) -> Schedule:
        """The learning rate over all phases, with `choose_warmup` where the steps of the warm-up are not given."""
        steps = self.num_train_steps
        warmup = choose_warmup(steps, config) if config.num_warmup_steps is None else config.num_warmup_steps
        if warmup > steps:
            raise InputError(f"num_warmup_steps is {warmup}", expected=f"at most num_train_steps, which is {steps}")
        return Schedule(config.learning_rate, steps, warmup)

    def left_at(self, step: int) -> Iterator[Phase]:
        """The phases with steps to take after `step`."""
        return (phase for phase in self.phases if phase.last_step > step)

    def batches_done(self, dataset: Dataset, step: int) -> int:
        """The batches of a dataset that were trained on after `step` steps."""
        of_dataset = (phase for phase in self.phases if phase.dataset.identity == dataset.identity)
        return sum(min(max(0, step - phase.first_step), phase.last_step - phase.first_step) for phase in of_dataset)

    def first_phase_on(self, dataset: Dataset) -> int:
        """The number of the first phase on a dataset."""
        return next(i for i, phase in enumerate(self.phases) if phase.dataset.identity == dataset.identity)

    def phase_of(self, step: int) -> Phase:
        """The phase that a step, counted from 1, is taken in."""
        return next(phase for phase in self.phases if step <= phase.last_step)

    def pace(self, phase: Phase, bert: BertConfig, config: TrainConfig) -> Pace:
        """What the steps of one of the phases have in common."""
        flops = config.train_batch_size * sequence_flops(phase, bert)
        after = self.flops_after(phase.last_step, bert, config)
        return Pace(phase.last_step, config.train_batch_size, phase.info.max_seq_length, flops, after)

    def flops_after(self, step: int, bert: BertConfig, config: TrainConfig) -> float:
        """Floating-point operations that all the steps after `step` need."""
        return sum(
            (phase.last_step - max(step, phase.first_step)) * config.train_batch_size * sequence_flops(phase, bert)
            for phase in self.left_at(step)
        )


def choose_warmup(steps: int, config: TrainConfig) -> int:
    """The steps that warm up: a tenth of all. With the neighbour start at least 200, but no more than a third.

    With fewer, that start is lost: benchmarks/README.md#first-weights.
    """
    least = min(LEAST_WARMUP, steps // 3) if config.first_weights == "neighbours" else 0
    return max(steps // 10, least)


def adam_settings(config: TrainConfig) -> AdamSettings:
    """How a training asks for its weights to be updated."""
    return AdamSettings(
        weight_decay_rate=config.weight_decay_rate,
        beta_2=config.adam_beta2,
        clip_norm=config.clip_norm,
        layer_adaptation=config.optimizer == "lamb",
        bias_correction=config.optimizer == "adamw",
    )


def sequence_flops(phase: Phase, bert: BertConfig) -> float:
    """Floating-point operations that training needs for one sequence of a phase."""
    return train_flops(bert, phase.info.max_seq_length, phase.info.max_predictions_per_seq)


def check_fits(dataset: Dataset, config: BertConfig) -> None:
    """Raises InputError when a model of that shape cannot read the dataset."""
    info = dataset.info
    if info.vocab_size != config.vocab_size:
        raise InputError(
            f"bert_config has vocab_size {config.vocab_size}, {dataset.directory} was made with {info.vocab_size} "
            "tokens",
            way_out="set vocab_size to that number",
        )
    if info.max_seq_length > config.max_position_embeddings:
        raise InputError(
            f"bert_config has max_position_embeddings {config.max_position_embeddings}, {dataset.directory} has "
            f"max_seq_length {info.max_seq_length}",
            way_out="raise the former, or generate shorter sequences",
        )


def _require_alike(before: Sequence[Phase], phase: Phase) -> None:
    first = before[0]
    if first.info.vocab_sha256 != phase.info.vocab_sha256:
        raise InputError(
            f"was made with another vocabulary than {first.directory}",
            way_out=f"generate it with --vocab-file {os.path.join(first.directory, 'vocab.txt')}",
            path=phase.directory,
        )
    if first.info.config["cased"] != phase.info.config["cased"]:
        raise InputError(
            f"has cased={phase.info.config['cased']}, {first.directory} has cased={first.info.config['cased']}",
            way_out="generate both alike",
            path=phase.directory,
        )
    for other in before:
        objectives = other.info.objective, phase.info.objective
        # A phase without pairs leaves the next-sentence head alone, so it may stand beside either kind of pairs.
        if objectives[0] != objectives[1] and "mlm" not in objectives:
            raise InputError(
                f"has objective {objectives[1]}, {other.directory} has {objectives[0]}: label 1 is a random next in "
                "nsp, a swapped pair in sop, and one head cannot learn both",
                way_out="generate both alike",
                path=phase.directory,
            )
