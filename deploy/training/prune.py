"""`maskmill prune`: its options."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import click

from maskmill.deploy.terminal.cli_types import SEED, Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import LEARNS, MAKES, READS, RUNS, Command, json_option, option, pick, under
from maskmill.deploy.terminal.options import BACKEND, CASE, PRECISION, SAVE_CHECKPOINTS_STEPS, TRAIN_BATCH_SIZE, TRAINED
from maskmill.model.bert.config import Importance, PruneConfig, TrainConfig
from maskmill.model.tasks.finetune_config import FINETUNING, FinetuneConfig
from maskmill.pipeline.dataset.schema import MANIFEST, DatasetInfo, Split
from maskmill.pipeline.reading.documents import MAX_REJECTED
from maskmill.pipeline.storage.storage import exists
from maskmill.pipeline.tables.fields import TableFormat
from maskmill.tokenizer.errors import InputError

if TYPE_CHECKING:
    from maskmill.model.formats.model_dir import WhichCheckpoint

OF_TRAINING = "that of the training"
OF_TABLE = ("text_field", "text_pair_field", "label_field", "input_format", "eval_file", "max_rejected")
LEARNING = ("random_seed", "train_batch_size", "save_checkpoints_steps", "precision", "learning_rate")


@dataclass(frozen=True)
class PruneRequest:
    """What `prune` is asked for. Raises InputError where a value makes no sense for the recovery."""

    data: str  # a dataset; of a classifier a table
    model_dir: str
    output: str
    config: PruneConfig
    recovery_steps: int | None = None  # None: nothing is trained after pruning
    learning: Mapping[str, Any] = field(default_factory=dict)  # options of the recovery that are given
    checkpoint: "WhichCheckpoint | None" = None  # None: best of a classifier, else newest
    split: Split | None = None  # of a dataset; None: eval
    cased: bool | None = None  # of a model of others; None: as the files beside it say
    of_table: Mapping[str, Any] = field(default_factory=dict)  # options of a table that are given

    def __post_init__(self) -> None:
        if self.is_classifier:
            FinetuneConfig(num_train_steps=self.recovery_steps, **self.learning)
        else:
            self.recovery()

    @property
    def is_classifier(self) -> bool:
        """Whether `finetune` wrote the model."""
        return exists(os.path.join(self.model_dir, FINETUNING))

    def recovery(self) -> TrainConfig:
        """How a pre-trained model is trained on."""
        steps = self.recovery_steps
        return TrainConfig(
            num_train_steps=steps, num_warmup_steps=None if steps is None else steps // 10, **self.learning
        )


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
def prune(backend: str, as_json: bool, **given: Any) -> None:
    """Remove the heads and feed-forward units that matter least.

    A pre-trained model is measured on the DATASET that it was trained on, or on one like it; a classifier that finetune
    wrote on its task: on a TABLE as finetune takes it. With --recovery-steps the same command goes on with a training
    that was interrupted.
    """
    from maskmill.deploy.terminal.backend import choose_backend
    from maskmill.deploy.training.pruned_models import open_finetuned_subject, open_pretrained_subject
    from maskmill.deploy.training.pruning import prune_trained

    with wrong_usage():
        request = PruneRequest(
            config=PruneConfig(**pick(PruneConfig, given)),
            learning={name: given[name] for name in LEARNING if given[name] is not None},
            of_table={name: given[name] for name in OF_TABLE if given[name] is not None},
            **pick(PruneRequest, given),
        )
    check_kind(request)
    choose_backend(backend)  # after what can be seen to fail without the seconds that it takes
    open_subject = open_finetuned_subject if request.is_classifier else open_pretrained_subject
    prune_trained(open_subject(request), request, as_json)


def check_kind(request: PruneRequest) -> None:
    """Raises where a classifier gets a dataset, another model a table, or either an option of the other."""
    data, model_dir, is_classifier = request.data, request.model_dir, request.is_classifier
    of_dataset = ["split"] if request.split else []
    if request.cased is not None:
        of_dataset.append("cased" if request.cased else "uncased")
    what = "a classifier, which is pruned on a table" if is_classifier else "no classifier, and is pruned on a dataset"
    for name in of_dataset if is_classifier else request.of_table:
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
