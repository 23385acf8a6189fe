"""`prune` on the command line: a trained model becomes a smaller one."""

import os
from typing import Any, get_args

import click

from maskmill.deploy.terminal.cli_types import SEED, Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import LEARNS, MAKES, READS, RUNS, Command, json_option, option, under
from maskmill.deploy.terminal.options import CASE, TRAINED
from maskmill.deploy.training.commands import BACKEND, PRECISION, SAVE_CHECKPOINTS_STEPS, TRAIN_BATCH_SIZE
from maskmill.model.bert.config import Importance, PruneConfig, TrainConfig
from maskmill.model.tasks.finetune_config import FINETUNING, FinetuneConfig
from maskmill.pipeline.dataset.schema import MANIFEST, DatasetInfo
from maskmill.pipeline.reading.documents import MAX_REJECTED
from maskmill.pipeline.storage.storage import exists
from maskmill.pipeline.tables.fields import TableFormat
from maskmill.tokenizer.errors import InputError

OF_TRAINING = "that of the training"


@click.command(
    cls=Command,
    stopped="Stopped; the same command goes on with what is finished.",
    examples=(
        "maskmill prune shards --model-dir model --output pruned --recovery-steps 1000",
        "maskmill prune shards --model-dir bert-base-uncased --output pruned --heads 0 --ffn 0.25",
        "maskmill prune reviews.csv --model-dir classifier --output pruned --ffn 0.5 --recovery-steps 200",
    ),
)
@click.argument("data", type=Place(), metavar="DATASET|TABLE")
@under(
    READS,
    TRAINED,
    option(
        "--checkpoint",
        type=click.Choice(["newest", "best"]),
        show_default="newest; best of a classifier",
        help="newest, or best: the one that --eval-every, or an epoch of finetune, found best on held-out data.",
    ),
    option(
        "--split", type=click.Choice(["eval", "train"]), show_default="eval", help="DATASET: examples to evaluate on."
    ),
    CASE,
    option("--text-field", metavar="FIELD", show_default=OF_TRAINING, help="TABLE: column of the text."),
    option(
        "--text-pair-field",
        metavar="FIELD",
        show_default=OF_TRAINING,
        help="TABLE: column of the second text.",
    ),
    option("--label-field", metavar="FIELD", show_default=OF_TRAINING, help="TABLE: column of the label."),
    option(
        "--input-format",
        type=click.Choice(get_args(TableFormat)),
        show_default="auto",
        help="TABLE: auto: by name and content.",
    ),
    option(
        "--eval-file",
        type=Place(),
        show_default="the share that the training held out",
        help="TABLE: table of rows to evaluate on. Needed if the training had one.",
    ),
    option(
        "--max-rejected",
        type=click.FloatRange(0, 1),
        metavar="SHARE",
        show_default=str(MAX_REJECTED),
        help="TABLE: share of rows that may be unusable before the run fails.",
    ),
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
        help="taylor: estimated change of the loss when it is removed. magnitude: norm of its weights. random: a "
        "random choice, for comparison.",
    ),
    option(
        "--rounds", default=PruneConfig.rounds, metavar="N", help="Number of rounds; taylor removes a part in each."
    ),
    option(
        "--num-examples",
        default=PruneConfig.num_examples,
        metavar="N",
        help="Number of examples or rows that importance is measured on in each round.",
    ),
    SAVE_CHECKPOINTS_STEPS,
)
@under(
    LEARNS,
    option(
        "--recovery-steps",
        type=Whole(1),
        metavar="STEPS",
        show_default="none",
        help="Steps of training after pruning.",
    ),
    TRAIN_BATCH_SIZE,
    option(
        "--learning-rate",
        type=float,
        metavar="RATE",
        show_default=f"{TrainConfig.learning_rate}; of a classifier that of its training",
        help="Peak learning rate, reached after the warm-up.",
    ),
    option(
        "--random-seed",
        default=PruneConfig.random_seed,
        type=SEED,
        metavar="N",
        help="Seed for the order of examples, dropout, and --importance random.",
    ),
)
@under(RUNS, BACKEND, PRECISION)
@json_option("sizes, speed and metrics of each model, and what was kept")
def prune(
    data: str,
    model_dir: str,
    output: str,
    heads: float,
    ffn: float,
    importance: Importance,
    rounds: int,
    num_examples: int,
    split: Any,
    recovery_steps: int | None,
    random_seed: int,
    checkpoint: Any,
    cased: bool | None,
    backend: str,
    as_json: bool,
    train_batch_size: int,
    learning_rate: float | None,
    save_checkpoints_steps: int,
    precision: Any,
    **of_table: Any,
) -> None:
    """Remove the heads and feed-forward units that matter least.

    A pre-trained model is measured on the DATASET that it was trained on, or on one like it; a classifier that finetune
    wrote on its task: on a TABLE as finetune takes it. With --recovery-steps the same command goes on with a training
    that was interrupted.
    """
    from maskmill.deploy.training.models import choose_backend
    from maskmill.deploy.training.prune import prune_trained
    from maskmill.deploy.training.prune_subjects import Pretrained, Subject, open_finetuned_subject

    learning = {
        "random_seed": random_seed,
        "train_batch_size": train_batch_size,
        "save_checkpoints_steps": save_checkpoints_steps,
        "precision": precision,
        **({} if learning_rate is None else {"learning_rate": learning_rate}),
    }
    given = {name: value for name, value in of_table.items() if value is not None}
    is_classifier = exists(os.path.join(model_dir, FINETUNING))
    with wrong_usage():
        config = PruneConfig(heads, ffn, importance, rounds, num_examples, random_seed)
        if is_classifier:
            FinetuneConfig(num_train_steps=recovery_steps, **learning)
        else:
            warmup = None if recovery_steps is None else recovery_steps // 10
            train_config = TrainConfig(num_train_steps=recovery_steps, num_warmup_steps=warmup, **learning)
    of_dataset = [*(["split"] if split else []), *([] if cased is None else ["cased" if cased else "uncased"])]
    check_kind(data, model_dir, is_classifier, of_dataset, list(given))
    choose_backend(backend)  # after what can be seen to fail without the seconds that it takes
    subject: Subject
    if is_classifier:
        subject = open_finetuned_subject(data, model_dir, checkpoint or "best", recovery_steps, learning, **given)
    else:
        subject = Pretrained(data, model_dir, checkpoint or "newest", split or "eval", train_config, cased)
    prune_trained(subject, model_dir, output, config, as_json)


def check_kind(data: str, model_dir: str, is_classifier: bool, of_dataset: list[str], of_table: list[str]) -> None:
    """Raises where a classifier gets a dataset, another model a table, or either an option of the other."""
    what = "a classifier, which is pruned on a table" if is_classifier else "no classifier, and is pruned on a dataset"
    for name in of_dataset if is_classifier else of_table:
        raise click.UsageError(f"--{name.replace('_', '-')} is given, but {model_dir} is {what}; leave it out")
    if not is_classifier:
        if os.path.isfile(data):
            raise InputError(
                f"{data} is a file, and {model_dir} is {what}",
                way_out="give a folder that 'maskmill generate' wrote, or a model that 'maskmill finetune' wrote",
            )
        DatasetInfo.load(data, sealed=True)
    elif os.path.isdir(data) or exists(os.path.join(data, MANIFEST)):
        raise InputError(
            f"{data} is a folder, and {model_dir} is {what}",
            way_out="give a table as 'maskmill finetune' takes it, or a pre-trained model",
        )
