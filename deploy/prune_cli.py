"""`prune` on the command line: a trained model becomes a smaller one."""

from typing import Any, get_args

import click

from deploy.cli_types import Place, wrong_usage
from deploy.model_cli import backend_option, checkpoint_option
from model.config import ComputeDtype, Importance, PruneConfig, TrainConfig
from pipeline.schema import DatasetInfo


@click.command()
@click.argument("dataset", type=Place())
@click.option(
    "--model-dir",
    required=True,
    type=Place(),
    help="Model to prune, which stays as it is: a model folder, a Hugging Face folder, or Google's checkpoint.",
)
@click.option("--output", required=True, type=Place(file_okay=False), help="Folder of the smaller model.")
@click.option("--heads", default=PruneConfig.heads, help="Share of all attention heads to remove.")
@click.option("--ffn", default=PruneConfig.ffn, help="Share of all feed-forward units to remove.")
@click.option(
    "--importance",
    type=click.Choice(get_args(Importance)),
    default=PruneConfig.importance,
    help="taylor: what leaving it out would do to the loss, to first order. magnitude: the norm of its weights.",
)
@click.option("--num-examples", default=PruneConfig.num_examples, help="Of the train split, that taylor measures on.")
@click.option("--split", type=click.Choice(["eval", "train"]), default="eval", help="Examples that losses are of.")
@click.option("--recovery-steps", type=click.IntRange(1), help="Steps of further training. [default: none]")
@click.option("--train-batch-size", default=TrainConfig.train_batch_size, help="Sequences in a recovery step.")
@click.option("--learning-rate", default=TrainConfig.learning_rate, help="Of the recovery, at its peak.")
@click.option("--save-checkpoints-steps", default=TrainConfig.save_checkpoints_steps, help="Steps between checkpoints.")
@click.option(
    "--precision",
    type=click.Choice(get_args(ComputeDtype)),
    default=TrainConfig.precision,
    help="Of activations and matrix products, measuring and training.",
)
@click.option("--random-seed", default=PruneConfig.random_seed, help="Of the order of examples, dropout, and random.")
@checkpoint_option
@backend_option
def prune(
    dataset: str,
    model_dir: str,
    output: str,
    heads: float,
    ffn: float,
    importance: Importance,
    num_examples: int,
    split: Any,
    recovery_steps: int | None,
    random_seed: int,
    checkpoint: Any,
    backend: str,
    **recovery: Any,
) -> None:
    """Remove the attention heads and feed-forward units that matter least, and train on.

    DATASET is what the model was trained on, or like it. With --recovery-steps the same command goes on with a training
    that was interrupted.
    """
    from deploy.models import choose_backend
    from deploy.using.prune import prune_trained

    with wrong_usage():
        config = PruneConfig(heads, ffn, importance, num_examples, random_seed)
        warmup = None if recovery_steps is None else recovery_steps // 10
        train_config = TrainConfig(
            num_train_steps=recovery_steps, num_warmup_steps=warmup, random_seed=random_seed, **recovery
        )
    DatasetInfo.load(dataset)  # before the seconds that Keras takes
    choose_backend(backend)
    prune_trained(dataset, model_dir, output, config, train_config, checkpoint, split)
