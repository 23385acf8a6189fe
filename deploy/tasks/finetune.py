"""`maskmill finetune`: its options."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import click

from maskmill.deploy.tasks.model_source import ModelSource
from maskmill.deploy.terminal.cli_types import SEED, Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import LEARNS, MAKES, READS, RUNS, Command, json_option, option, pick, under
from maskmill.deploy.terminal.options import (
    BACKEND,
    CASE,
    CHECKPOINT,
    KEEP_CHECKPOINTS,
    PRECISION,
    REJECTED,
    SAVE_CHECKPOINTS_STEPS,
    TABLE_FORMAT,
    TRAINED,
)
from maskmill.model.tasks.finetune_config import FinetuneConfig, FinetuneOptimizer
from maskmill.model.training.config import MAX_SEED
from maskmill.pipeline.reading.documents import MAX_REJECTED
from maskmill.pipeline.tables.fields import Fields, TableFormat
from maskmill.tokenizer.errors import InputError

if TYPE_CHECKING:
    from maskmill.pipeline.reading.documents import Rejected
    from maskmill.pipeline.tables.labelled import LabelledTexts

EVAL_FRACTION = 0.1


@dataclass(frozen=True)
class Tables:
    """What is learned from, and how it is read. Raises InputError where rows are held out in two ways."""

    table: str
    fields: Fields
    input_format: TableFormat = "auto"
    eval_file: str | None = None
    eval_fraction: float | None = None  # None: EVAL_FRACTION, where there is no eval_file
    max_rejected: float = MAX_REJECTED

    def __post_init__(self) -> None:
        if self.eval_file and self.eval_fraction is not None:
            raise InputError(
                "--eval-file and --eval-fraction are both given", way_out="the rows held out come from one of them"
            )

    def read(
        self, random_seed: int, stratified: bool = True
    ) -> "tuple[LabelledTexts, LabelledTexts, dict[str, list[Rejected]]]":
        """The rows to train on, those held out, and by file those rejected."""
        from maskmill.pipeline.tables.labelled import split_off

        found, rejected = self._read(self.table)
        if self.eval_file is None:
            fraction = EVAL_FRACTION if self.eval_fraction is None else self.eval_fraction
            return *split_off(found, fraction, random_seed, stratified), {self.table: rejected}
        held_out, rejected_there = self._read(self.eval_file)
        return found, held_out, {self.table: rejected, self.eval_file: rejected_there}

    def _read(self, path: str) -> "tuple[LabelledTexts, list[Rejected]]":
        from maskmill.pipeline.tables.labelled import check_rejected, read_labelled

        found, rejected = read_labelled(path, self.fields, self.input_format)
        check_rejected(found, rejected, self.max_rejected)
        return found, rejected


@dataclass(frozen=True)
class FinetuneRequest:
    """What `finetune` is asked for. Raises InputError where there are no such seeds."""

    tables: Tables
    source: ModelSource
    output: str
    config: FinetuneConfig
    optimizer: FinetuneOptimizer | None = None  # None: that of a run that goes on, else that of the config
    seeds: int = 1  # how many, from the one of the config on

    def __post_init__(self) -> None:
        if self.config.random_seed + self.seeds - 1 > MAX_SEED:
            raise InputError(
                f"random_seed is {self.config.random_seed}",
                expected=f"0 to 2^63 - 1 for the last of {self.seeds:,} seeds, too",
            )


@click.command(
    cls=Command,
    examples=(
        "maskmill finetune reviews.csv --model-dir model --output classifier",
        "maskmill finetune train.tsv --eval-file dev.tsv --model-dir bert-base-uncased --output rte \\\n"
        "    --text-field sentence1 --text-pair-field sentence2",
    ),
)
@click.argument("table", type=Place())
@under(
    READS,
    TRAINED,
    CHECKPOINT,
    CASE,
    option("--text-field", default="text", metavar="FIELD", help="Column of the text; a.b is field b of a."),
    option("--text-pair-field", metavar="FIELD", help="Column of the second text of a pair."),
    option(
        "--label-field",
        default="label",
        metavar="FIELD",
        help="Column of the label: text or a whole number.",
    ),
    TABLE_FORMAT,
    option(
        "--eval-file", type=Place(), show_default="a part of TABLE, by --eval-fraction", help="Table of held-out rows."
    ),
    option(
        "--eval-fraction",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        metavar="SHARE",
        show_default=str(EVAL_FRACTION),
        help="Share of the texts of each label that are held out, chosen by a hash of the text.",
    ),
    REJECTED,
)
@under(
    MAKES,
    option("--output", required=True, type=Place(file_okay=False), help="Folder to write."),
    SAVE_CHECKPOINTS_STEPS,
    KEEP_CHECKPOINTS,
    option(
        "--seeds",
        default=1,
        type=Whole(1, 10_000),
        metavar="N",
        help="Number of runs with different seeds, in OUTPUT/seed-...; mean and spread are shown.",
    ),
)
@under(
    LEARNS,
    option(
        "--max-seq-length",
        default=FinetuneConfig.max_seq_length,
        metavar="TOKENS",
        help="Tokens of a row; longer rows are truncated.",
    ),
    option("--train-batch-size", default=FinetuneConfig.train_batch_size, metavar="N", help="Rows per step."),
    option(
        "--learning-rate",
        default=FinetuneConfig.learning_rate,
        metavar="RATE",
        help="Peak learning rate, reached after the warm-up.",
    ),
    option(
        "--num-train-epochs",
        default=FinetuneConfig.num_train_epochs,
        metavar="N",
        help="Number of passes over the rows.",
    ),
    option(
        "--warmup-proportion",
        default=FinetuneConfig.warmup_proportion,
        metavar="SHARE",
        help="Share of the steps that are warm-up.",
    ),
    option(
        "--classifier-dropout-prob",
        default=FinetuneConfig.classifier_dropout_prob,
        metavar="SHARE",
        help="Dropout probability of the pooled output.",
    ),
    option(
        "--weight-decay-rate",
        default=FinetuneConfig.weight_decay_rate,
        metavar="RATE",
        help="Weight decay of all weights except biases and LayerNorm.",
    ),
    option(
        "--optimizer",
        type=click.Choice(get_args(FinetuneOptimizer)),
        show_default=f"{FinetuneConfig.optimizer}, or that of a run that goes on",
        help="adamw: Adam with bias correction, and the schedule of transformers. google: as in Google's code.",
    ),
    option(
        "--class-weights",
        default=FinetuneConfig.class_weights,
        metavar="none|balanced|LABEL=NUMBER,...",
        help="Weight of each label in the loss. balanced: all labels together weigh the same.",
    ),
    option(
        "--random-seed",
        default=FinetuneConfig.random_seed,
        type=SEED,
        metavar="N",
        help="Seed for the classifier's initial weights, dropout, data order and split.",
    ),
)
@under(RUNS, BACKEND, PRECISION)
@json_option("a list with an object for each seed")
def finetune(backend: str, as_json: bool, **given: Any) -> None:
    """Fine-tune a BERT classifier.

    TABLE is CSV, TSV, JSON lines or Parquet, with a text, or two, and a label in each row. Defaults are those of
    Google's run_classifier.py, but for the optimizer. Run the same command again to continue from the last checkpoint.
    """
    from maskmill.deploy.tasks.finetuning import finetune_model
    from maskmill.deploy.terminal.backend import choose_backend

    with wrong_usage():
        config = FinetuneConfig(**pick(FinetuneConfig, given, "optimizer"))
        tables = Tables(fields=Fields(**pick(Fields, given)), **pick(Tables, given))
        source = ModelSource(**pick(ModelSource, given, "precision"))
        request = FinetuneRequest(tables, source, config=config, **pick(FinetuneRequest, given))
    choose_backend(backend)
    finetune_model(request, as_json)
