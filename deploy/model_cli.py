"""`train`, `evaluate` and `export` on the command line, and the options of all commands that have a model."""

from importlib.util import find_spec
from typing import Any, get_args

import click

from deploy.cli_types import Place, wrong_usage
from model.config import ComputeDtype, Optimizer, TrainConfig
from pipeline.schema import DatasetInfo


def default_backend() -> str:
    """TensorFlow; where only JAX is installed, that, which is then said."""
    if find_spec("tensorflow") or not find_spec("jax"):
        return "tensorflow"
    click.echo("TensorFlow is not installed here; Keras runs on JAX.", err=True)
    return "jax"


model_dir_option = click.option("--model-dir", required=True, type=Place(), help="Folder of the model.")
checkpoint_option = click.option(
    "--checkpoint",
    type=click.Choice(["newest", "best"]),
    default="newest",
    help="best: the one that --eval-every found best on held-out documents.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(["tensorflow", "jax"]),
    default=default_backend,
    show_default="tensorflow; jax where only that is installed",
    envvar="KERAS_BACKEND",
    help="What Keras runs on.",
)


@click.command()
@click.argument("dataset", type=Place(), required=False)
@click.option(
    "--phase",
    "phases",
    multiple=True,
    metavar="DIR:STEPS",
    help="In place of DATASET: several, each for so many steps, one after the other.",
)
@model_dir_option
@click.option(
    "--bert-config",
    type=Place(),
    metavar="NAME|PATH",
    help="tiny, mini, small, medium, base, large, a bert_config.json, or Hugging Face's config.json. [default: that "
    "of --init-checkpoint, else base]",
)
@click.option(
    "--init-checkpoint",
    type=Place(),
    help="Weights to begin with: Google's bert_model.ckpt, a Hugging Face folder, or a model folder.",
)
@click.option(
    "--resize-embeddings", is_flag=True, help="Let vocabulary and positions differ from those of --init-checkpoint."
)
@click.option("--train-batch-size", default=TrainConfig.train_batch_size, help="Sequences in a step.")
@click.option("--learning-rate", default=TrainConfig.learning_rate, help="At its peak, after the warm-up.")
@click.option("--num-train-steps", type=int, help="Steps. [default: one pass over all shards]")
@click.option("--num-warmup-steps", type=int, help="Steps to the peak. [default: a tenth of all]")
@click.option(
    "--optimizer",
    type=click.Choice(get_args(Optimizer)),
    default=TrainConfig.optimizer,
    help="adamw: Google's. lamb: for large batches.",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(ComputeDtype)),
    default=TrainConfig.precision,
    help="Of activations and matrix products. bfloat16 is faster where the processor has it.",
)
@click.option(
    "--gradient-accumulation-steps",
    default=TrainConfig.gradient_accumulation_steps,
    help="Parts of a batch, worked on one after the other, in so much less memory.",
)
@click.option("--dynamic-masking", is_flag=True, help="Mask each example anew when it is seen: one copy is enough.")
@click.option("--eval-every", type=int, help="Steps between evaluations on the eval split, which keep the best.")
@click.option("--save-checkpoints-steps", default=TrainConfig.save_checkpoints_steps, help="Steps between checkpoints.")
@click.option("--keep-checkpoints", default=TrainConfig.keep_checkpoints, help="Newest checkpoints kept.")
@click.option("--random-seed", default=TrainConfig.random_seed, help="Of first weights, dropout and order.")
@click.option("--profile", is_flag=True, help="Trace a few steps, for TensorBoard's profile page.")
@backend_option
@click.option("--distributed", is_flag=True, help="jax: train with the same command's processes on other hosts.")
def train(
    dataset: str | None,
    phases: tuple[str, ...],
    model_dir: str,
    bert_config: str | None,
    init_checkpoint: str | None,
    resize_embeddings: bool,
    profile: bool,
    backend: str,
    distributed: bool,
    **config: Any,
) -> None:
    """Train a BERT on a dataset; the same command again goes on from the last checkpoint."""
    from deploy.models import choose_backend, train_model

    datasets = choose_datasets(dataset, phases, config["num_train_steps"])
    if distributed and backend != "jax":
        raise click.UsageError("--distributed is given with --backend tensorflow; expected --backend jax")

    if resize_embeddings and not init_checkpoint:
        raise click.UsageError("--resize-embeddings is given without --init-checkpoint, whose embeddings it resizes")
    with wrong_usage():
        train_config = TrainConfig(**config)
    for directory, _ in datasets:
        DatasetInfo.load(directory)  # before the seconds that Keras takes
    choose_backend(backend, distributed)
    train_model(datasets, model_dir, bert_config, train_config, init_checkpoint, resize_embeddings, profile)


def choose_datasets(
    dataset: str | None, phases: tuple[str, ...], num_train_steps: int | None
) -> list[tuple[str, int | None]]:
    """The folders to train on, each with its steps. Raises UsageError unless there is either DATASET or --phase."""
    if (dataset is None) == (not phases):
        raise click.UsageError("expected a DATASET, or --phase DIR:STEPS once or more")
    if phases and num_train_steps is not None:
        raise click.UsageError(
            "--num-train-steps is given beside --phase DIR:STEPS, which says the steps of each phase"
        )
    return [(dataset, num_train_steps)] if dataset is not None else list(map(parse_phase, phases))


def parse_phase(phase: str) -> tuple[str, int | None]:
    """`DIR:STEPS` to both. Raises UsageError where it is something else."""
    directory, _, steps = phase.rpartition(":")
    if not directory or not steps.isascii() or not steps.isdigit() or int(steps) < 1:
        raise click.UsageError(f"--phase {phase} is given; expected DIR:STEPS, such as shards/seq128:900000")
    return directory, int(steps)


@click.command()
@click.argument("dataset", type=Place())
@model_dir_option
@click.option("--split", type=click.Choice(["eval", "train"]), default="eval", help="Examples to evaluate on.")
@click.option("--eval-batch-size", default=64, type=click.IntRange(1), help="Sequences at a time.")
@checkpoint_option
@backend_option
def evaluate(dataset: str, model_dir: str, split: Any, eval_batch_size: int, checkpoint: Any, backend: str) -> None:
    """Measure a trained model on the held-out documents of a dataset."""
    from deploy.models import choose_backend, evaluate_model

    DatasetInfo.load(dataset)  # before the seconds that Keras takes
    choose_backend(backend)
    evaluate_model(dataset, model_dir, split, eval_batch_size, checkpoint)


@click.command()
@model_dir_option
@click.option("--output", required=True, type=Place(), help="Folder to write.")
@checkpoint_option
@backend_option
def export(model_dir: str, output: str, checkpoint: Any, backend: str) -> None:
    """Write a trained model as a folder that Hugging Face transformers loads, with a file that Keras loads."""
    from deploy.models import choose_backend, export_model

    choose_backend(backend)
    export_model(model_dir, output, checkpoint)
