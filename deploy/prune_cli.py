"""`prune` on the command line: a trained model becomes a smaller one."""

from typing import Any, get_args

import click

from deploy.cli_types import Place, wrong_usage
from deploy.command import LEARNS, MAKES, READS, RUNS, Command, json_option, option, under
from deploy.model_cli import BACKEND, CHECKPOINT, LEARNING_RATE, PRECISION, SAVE_CHECKPOINTS_STEPS, TRAIN_BATCH_SIZE
from deploy.options import TRAINED
from model.config import Importance, PruneConfig, TrainConfig
from pipeline.schema import DatasetInfo


@click.command(
    cls=Command,
    stopped="Stopped; the same command goes on with what is finished.",
    examples=(
        "maskmill prune shards --model-dir model --output pruned --recovery-steps 1000",
        "maskmill prune shards --model-dir bert-base-uncased --output pruned --heads 0 --ffn 0.25",
    ),
)
@click.argument("dataset", type=Place())
@under(
    READS,
    TRAINED,
    CHECKPOINT,
    option("--split", type=click.Choice(["eval", "train"]), default="eval", help="Examples to evaluate on."),
)
@under(
    MAKES,
    option("--output", required=True, type=Place(file_okay=False), help="Folder to write."),
    option("--heads", default=PruneConfig.heads, metavar="SHARE", help="Share of all attention heads to remove."),
    option("--ffn", default=PruneConfig.ffn, metavar="SHARE", help="Share of all feed-forward units to remove."),
    option(
        "--importance",
        type=click.Choice(get_args(Importance)),
        default=PruneConfig.importance,
        help="taylor: what leaving it out would do to the loss, to first order. magnitude: the norm of its weights.",
    ),
    option(
        "--num-examples",
        default=PruneConfig.num_examples,
        metavar="N",
        help="Examples of the train split that taylor measures on.",
    ),
    SAVE_CHECKPOINTS_STEPS,
)
@under(
    LEARNS,
    option(
        "--recovery-steps",
        type=click.IntRange(1),
        metavar="STEPS",
        show_default="none",
        help="Steps of further training.",
    ),
    TRAIN_BATCH_SIZE,
    LEARNING_RATE,
    option(
        "--random-seed",
        default=PruneConfig.random_seed,
        metavar="N",
        help="Of the order of examples, dropout, and --importance random.",
    ),
)
@under(RUNS, BACKEND, PRECISION)
@json_option("sizes, speed and metrics of each model, and what was kept")
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
    as_json: bool,
    **recovery: Any,
) -> None:
    """Remove the heads and feed-forward units that matter least.

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
    DatasetInfo.load(dataset, sealed=True)  # before the seconds that Keras takes
    choose_backend(backend)
    prune_trained(dataset, model_dir, output, config, train_config, checkpoint, split, as_json)
