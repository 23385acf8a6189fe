"""`maskmill train`: its options."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import click

from maskmill.deploy.terminal.cli_types import MOST, SEED, Duration, Place, clip, wrong_usage
from maskmill.deploy.terminal.command import LEARNS, MAKES, READS, RUNS, Command, option, pick, under
from maskmill.deploy.terminal.options import (
    BACKEND,
    DRAWN,
    KEEP_CHECKPOINTS,
    MODEL_DIR,
    OF_TOKENS,
    PRECISION,
    SAVE_CHECKPOINTS_STEPS,
    changes_of,
)
from maskmill.model.pretraining.config import FirstWeights, PhaseRequest, TrainConfig
from maskmill.model.pretraining.recipes import Recipe, RecipeName, choose_recipe, settle
from maskmill.model.training.config import Optimizer
from maskmill.tokenizer.errors import InputError

OF_PRESET = "the recipe's"


@dataclass(frozen=True)
class TrainRequest:
    """What `maskmill train` is asked for. Raises InputError for options that do not go together."""

    datasets: list[PhaseRequest]
    model_dir: str
    bert_config: str | None
    recipe: Recipe
    settings: Mapping[str, Any]  # the options of the recipe and of TrainConfig that were given
    init_checkpoint: str | None = None
    resize_embeddings: bool = False
    profile: bool = False  # whether a trace of a few steps is recorded

    def __post_init__(self) -> None:
        if self.resize_embeddings and not self.init_checkpoint:
            raise InputError("--resize-embeddings is given without --init-checkpoint, whose embeddings it resizes")
        if self.settings.get("first_weights") == "neighbours" and self.init_checkpoint:
            raise InputError(
                "--first-weights neighbours is given beside --init-checkpoint, which has the first weights",
                way_out="give one",
            )
        steps = [phase.num_train_steps for phase in self.datasets]
        if self.settings.get("max_time") is not None and steps != [None]:
            other = "--num-train-steps" if "num_train_steps" in self.settings else "--phase DIR:STEPS"
            raise InputError(
                f"--max-time is given beside {other}, and both say how many steps to take", way_out="give one"
            )
        settle(self.settings, self.recipe)  # which checks the values


@click.command(
    cls=Command,
    examples=(
        "maskmill train shards --model-dir model --bert-config small --eval-every 1000",
        "maskmill train --phase both/seq128:900000 --phase both/seq512:100000 --model-dir model",
        "maskmill train tokens --max-seq-length 64 --objective mlm --model-dir model --bert-config mini",
        "maskmill train shards --model-dir model --init-checkpoint uncased_L-12_H-768_A-12/bert_model.ckpt",
    ),
)
@click.argument("dataset", type=Place(), required=False)
@under(
    READS,
    option(
        "--phase",
        "phases",
        multiple=True,
        metavar="DIR:STEPS",
        help="Instead of DATASET: train on DIR for STEPS steps; repeat for several datasets in turn.",
    ),
    option(
        "--init-checkpoint",
        type=Place(),
        help="Initial weights: Google's bert_model.ckpt, a Hugging Face folder, or a model folder.",
    ),
    option(
        "--resize-embeddings",
        is_flag=True,
        help="Allow vocabulary and positions that differ from those of --init-checkpoint.",
    ),
)
@under(
    "For a dataset of tokens",
    option(
        "--max-seq-length",
        "lengths",
        type=int,
        multiple=True,
        metavar="TOKENS",
        show_default=OF_TOKENS,
        help="Tokens of an instance; once, or once for each --phase.",
    ),
    *DRAWN,
)
@under(
    MAKES,
    MODEL_DIR,
    option(
        "--bert-config",
        type=Place(),
        metavar="NAME|PATH",
        show_default="that of --init-checkpoint, else base",
        help="tiny, mini, small, medium, base, large, a bert_config.json, or Hugging Face's config.json.",
    ),
    SAVE_CHECKPOINTS_STEPS,
    KEEP_CHECKPOINTS,
    option(
        "--eval-every",
        type=int,
        metavar="STEPS",
        help="Steps between evaluations on the eval split; the best checkpoint is kept.",
    ),
    option("--profile", is_flag=True, help="Record a trace of a few steps for TensorBoard's profile page."),
)
@under(
    LEARNS,
    option(
        "--recipe",
        type=click.Choice(get_args(RecipeName)),
        default="preset",
        help="preset: that of --bert-config; tiny to medium have values for small corpora. google: Google's values.",
    ),
    option("--train-batch-size", type=int, metavar="N", show_default=OF_PRESET, help="Sequences per step."),
    option(
        "--learning-rate",
        type=float,
        metavar="RATE",
        show_default=OF_PRESET,
        help="Peak learning rate, reached after the warm-up.",
    ),
    option(
        "--first-weights",
        type=click.Choice(get_args(FirstWeights)),
        show_default=OF_PRESET,
        help="neighbours: the first layer looks at adjacent tokens from the start. bert: as in Google's code.",
    ),
    option(
        "--dropout",
        type=click.FloatRange(0, 0.999),
        metavar="RATE",
        show_default=OF_PRESET,
        help="Dropout of hidden states and attention.",
    ),
    option(
        "--initializer-range",
        type=click.FloatRange(1e-9, 10),
        metavar="STDDEV",
        show_default=OF_PRESET,
        help="Standard deviation of the initial weights.",
    ),
    option("--adam-beta2", type=float, metavar="BETA", show_default=OF_PRESET, help="Adam's beta2."),
    option("--clip-norm", type=float, metavar="NORM", show_default=OF_PRESET, help="Largest norm of the gradients."),
    option(
        "--num-train-steps",
        type=int,
        metavar="STEPS",
        show_default="one pass over all shards",
        help="Total number of steps.",
    ),
    option(
        "--max-time",
        type=Duration(),
        metavar="TIME",
        help="Train as many steps as fit in a time such as 30m or 8h, instead of --num-train-steps.",
    ),
    option(
        "--num-warmup-steps",
        type=int,
        metavar="STEPS",
        show_default="a tenth of all steps; with neighbours at least 200, or a third",
        help="Steps of the warm-up.",
    ),
    option(
        "--optimizer",
        type=click.Choice(get_args(Optimizer)),
        default=TrainConfig.optimizer,
        help="google: Adam as in Google's code, without bias correction. adamw: with it. lamb: for large batches.",
    ),
    option(
        "--dynamic-masking",
        is_flag=True,
        help="Draw new masks each time an example is read, so that one copy of the documents is enough.",
    ),
    option(
        "--random-seed",
        default=TrainConfig.random_seed,
        type=SEED,
        metavar="N",
        help="Seed for initial weights, dropout and data order.",
    ),
)
@under(
    RUNS,
    BACKEND,
    PRECISION,
    option(
        "--gradient-accumulation-steps",
        default=TrainConfig.gradient_accumulation_steps,
        metavar="N",
        help="Split each batch into N parts, processed one at a time, to save memory; the gradients do not change.",
    ),
    option("--distributed", is_flag=True, help="jax: train together with the same command on other hosts."),
)
def train(backend: str, distributed: bool, **given: Any) -> None:
    """Train a BERT on a dataset.

    DATASET is a folder that generate wrote. Run the same command again to continue from the last checkpoint.
    """
    from maskmill.deploy.terminal.backend import choose_backend
    from maskmill.deploy.training.training import train_model

    if distributed and backend != "jax":
        raise click.UsageError("--distributed is given with --backend tensorflow; expected --backend jax")
    request = make_request(given)
    for phase in request.datasets:
        phase.open()  # before the seconds that Keras takes
    choose_backend(backend, distributed)
    train_model(request)


def make_request(given: Mapping[str, Any]) -> TrainRequest:
    """The options of the command as a request. Raises UsageError for options that do not go together."""
    datasets = choose_datasets(given["dataset"], given["phases"], given["num_train_steps"])
    datasets = add_changes(datasets, given["lengths"], changes_of(given))
    recipe = choose_recipe(given["bert_config"], given["recipe"], given["init_checkpoint"] is not None)
    names = TrainConfig.__dataclass_fields__.keys() | Recipe.__dataclass_fields__.keys()
    settings = {name: value for name, value in given.items() if name in names and value is not None}
    with wrong_usage():
        return TrainRequest(datasets, recipe=recipe, settings=settings, **pick(TrainRequest, given, "recipe"))


def choose_datasets(dataset: str | None, phases: tuple[str, ...], num_train_steps: int | None) -> list[PhaseRequest]:
    """The folders to train on, each with its steps. Raises UsageError unless there is either DATASET or --phase."""
    if (dataset is None) == (not phases):
        raise click.UsageError("expected a DATASET, or --phase DIR:STEPS once or more")
    if phases and num_train_steps is not None:
        raise click.UsageError(
            "--num-train-steps is given beside --phase DIR:STEPS, which says the steps of each phase"
        )
    if dataset is not None:
        return [PhaseRequest(dataset, num_train_steps)]
    return list(map(parse_phase, phases))


def add_changes(
    datasets: Sequence[PhaseRequest], lengths: Sequence[int], changes: Mapping[str, Any]
) -> list[PhaseRequest]:
    """The phases with what is changed of datasets of tokens. Raises UsageError for another number of lengths."""
    if lengths and len(lengths) not in (1, len(datasets)):
        raise click.UsageError(
            f"--max-seq-length is given {len(lengths)} times; expected once, or once for each --phase, "
            f"{len(datasets)} times"
        )
    of_phase = [{"max_seq_length": length} for length in lengths] or [{}]
    of_phase *= len(datasets) // len(of_phase)
    return [phase._replace(changes={**length, **changes}) for phase, length in zip(datasets, of_phase)]


def parse_phase(phase: str) -> PhaseRequest:
    """`DIR:STEPS` to both. Raises UsageError where it is something else."""
    directory, _, steps = phase.rpartition(":")
    if not directory or not re.fullmatch("[0-9]{1,10}", steps) or not 1 <= int(steps) <= MOST:
        raise click.UsageError(
            f"--phase {clip(phase)} is given; expected DIR:STEPS with 1 to {MOST:,} steps, such as shards/seq128:900000"
        )
    return PhaseRequest(directory, int(steps))
