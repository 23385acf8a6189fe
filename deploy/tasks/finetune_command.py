"""`finetune` and `predict` on the command line: classifiers of texts and of pairs."""

from dataclasses import replace
from typing import Any, get_args

import click

from maskmill.deploy.engines.engine_options import DATAFLOW, Engine, engine_options
from maskmill.deploy.terminal.cli_types import MOST_WORKERS, SEED, Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import LEARNS, MAKES, READS, RUNS, Command, json_option, option, under
from maskmill.deploy.terminal.options import CASE, OVERWRITE, REJECTED, TRAINED
from maskmill.deploy.training.commands import BACKEND, CHECKPOINT, KEEP_CHECKPOINTS, PRECISION, SAVE_CHECKPOINTS_STEPS
from maskmill.model.tasks.finetune_config import MAX_SEED, FinetuneConfig, FinetuneOptimizer
from maskmill.pipeline.storage.storage import absolute, is_remote
from maskmill.pipeline.tables.fields import Fields, TableFormat

EVAL_FRACTION = 0.1

TABLE_FORMAT = option(
    "--input-format",
    type=click.Choice(get_args(TableFormat)),
    default="auto",
    help="auto: by name and content. The first line of CSV and TSV names the columns.",
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
        help="adamw: Adam with bias correction. google: without it, as in Google's code.",
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
def finetune(
    table: str,
    model_dir: str,
    output: str,
    text_field: str,
    text_pair_field: str | None,
    label_field: str,
    input_format: Any,
    eval_file: str | None,
    eval_fraction: float | None,
    max_rejected: float,
    seeds: int,
    checkpoint: Any,
    cased: bool | None,
    backend: str,
    as_json: bool,
    optimizer: FinetuneOptimizer | None,
    **config: Any,
) -> None:
    """Fine-tune a BERT classifier.

    TABLE is CSV, TSV, JSON lines or Parquet, with a text, or two, and a label in each row. Defaults are those of
    Google's run_classifier.py, but for the optimizer. Run the same command again to continue from the last checkpoint.
    """
    from maskmill.deploy.tasks.finetune import Tables, default_optimizer, finetune_model
    from maskmill.deploy.tasks.source import ModelSource
    from maskmill.deploy.training.models import choose_backend

    if eval_file and eval_fraction is not None:
        raise click.UsageError(
            "--eval-file and --eval-fraction are both given; the rows held out come from one of them"
        )
    with wrong_usage():
        finetune_config = FinetuneConfig(**config)
        fields = Fields(text_field, text_pair_field, label_field)
    if finetune_config.random_seed + seeds - 1 > MAX_SEED:
        raise click.UsageError(
            f"random_seed is {finetune_config.random_seed}; expected 0 to 2^63 - 1 for the last of {seeds:,} seeds, too"
        )
    if eval_fraction is None:
        eval_fraction = EVAL_FRACTION
    tables = Tables(table, fields, input_format, eval_file, eval_fraction, max_rejected)
    finetune_config = replace(
        finetune_config, optimizer=optimizer or default_optimizer(output, finetune_config.random_seed)
    )
    choose_backend(backend)
    finetune_model(tables, ModelSource(model_dir, checkpoint, cased), output, finetune_config, seeds, as_json)


@click.command(
    cls=Command,
    stopped="Stopped; nothing was written.",
    examples=(
        "maskmill predict new.csv --model-dir classifier --output predictions.csv",
        "maskmill predict new.parquet --model-dir classifier --output predictions.parquet --num-workers 2",
    ),
)
@click.argument("inputs", nargs=-1, required=True, metavar="TABLE")
@under(
    READS,
    option("--model-dir", required=True, type=Place(), help="Folder that finetune wrote."),
    option(
        "--checkpoint",
        type=click.Choice(["newest", "best"]),
        default="best",
        help="newest, or best: that of the best epoch.",
    ),
    option("--text-field", metavar="FIELD", show_default="that of the training", help="Column of the text."),
    option(
        "--text-pair-field",
        metavar="FIELD",
        show_default="that of the training",
        help="Column of the second text.",
    ),
    TABLE_FORMAT,
)
@under(
    MAKES,
    option("--output", required=True, type=Place(dir_okay=False), help="File to write: .csv, .jsonl or .parquet."),
    OVERWRITE,
    option(
        "--escape-formulas",
        is_flag=True,
        help="CSV: an apostrophe before values that Excel would take for formulas, with =, +, - or @ at the beginning.",
    ),
)
@under(
    RUNS,
    option(
        "--num-workers",
        type=Whole(1, MOST_WORKERS),
        metavar="N",
        show_default="1",
        help="Number of processes on this machine; each loads the model.",
    ),
    BACKEND,
)
@engine_options
def predict(
    inputs: tuple[str, ...],
    model_dir: str,
    output: str,
    num_workers: int | None,
    engine: Engine,
    **options: Any,
) -> None:
    """Label the rows of a table with a fine-tuned model.

    TABLE is CSV, TSV, JSON lines or Parquet. The output has a row for each of its rows, in their order: the most
    likely label and the probability of each label, or the reason why the row cannot be read.
    """
    from maskmill.deploy.tasks.predict import predict_table
    from maskmill.pipeline.tables.predictions import writer_for

    with wrong_usage():
        writer_for(output, options["escape_formulas"])
    runner, tables = engine.make_runner(inputs, output, num_workers=num_workers)
    if len(tables) > 1:
        raise click.UsageError(f"{len(tables)} tables are given; expected one, as its rows keep their order")
    if runner:
        model_dir, output = map(absolute, (model_dir, output))
        if runner.name == DATAFLOW and not (is_remote(model_dir) and is_remote(output)):
            raise click.UsageError(
                "--model-dir or --output is on this machine, where the workers of Dataflow do not see it; give gs://..."
            )
    predict_table(tables[0], model_dir, output, runner=runner, num_workers=num_workers, **options)
