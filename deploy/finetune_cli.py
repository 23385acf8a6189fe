"""`finetune` and `predict` on the command line: classifiers of texts and of pairs."""

import os
from collections.abc import Callable
from typing import Any, get_args

import click

from deploy.cli_types import Place, wrong_usage
from deploy.engine_options import DATAFLOW, Engine, engine_options
from deploy.model_cli import backend_option
from model.config import ComputeDtype
from model.tasks.finetune_config import FinetuneConfig
from pipeline.storage import is_remote

FORMATS = ("auto", "csv", "tsv", "jsonl", "parquet")  # pipeline.tables.TableFormat, which takes long to import
MAX_REJECTED = 0.01
EVAL_FRACTION = 0.1


def table_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say how a table is read."""
    return click.option(
        "--input-format",
        type=click.Choice(FORMATS),
        default="auto",
        help="auto: by name and content. The first line of CSV and TSV names the columns.",
    )(command)


@click.command()
@click.argument("table", type=Place())
@click.option("--model-dir", required=True, type=Place(), help="Model to begin with: ours, Hugging Face's or Google's.")
@click.option("--output", required=True, type=Place(file_okay=False), help="Folder of the fine-tuned model.")
@click.option("--text-field", default="text", help="Column of the text; a.b is b in a.")
@click.option("--text-pair-field", help="Column of the second text, where a row is a pair.")
@click.option("--label-field", default="label", help="Column of the label: text or a whole number.")
@table_options
@click.option("--eval-file", type=Place(), help="Rows held out. [default: a part of TABLE, by --eval-fraction]")
@click.option(
    "--eval-fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help=f"Share of TABLE held out, by a hash of the texts. [default: {EVAL_FRACTION}]",
)
@click.option(
    "--max-rejected", default=MAX_REJECTED, type=click.FloatRange(0, 1), help="Share of rows that may be unusable."
)
@click.option("--max-seq-length", default=FinetuneConfig.max_seq_length, help="Tokens of a row; what is longer is cut.")
@click.option("--train-batch-size", default=FinetuneConfig.train_batch_size, help="Rows in a step.")
@click.option("--learning-rate", default=FinetuneConfig.learning_rate, help="At its peak, after the warm-up.")
@click.option("--num-train-epochs", default=FinetuneConfig.num_train_epochs, help="Passes over the rows.")
@click.option("--warmup-proportion", default=FinetuneConfig.warmup_proportion, help="Share of the steps to the peak.")
@click.option(
    "--classifier-dropout-prob", default=FinetuneConfig.classifier_dropout_prob, help="Dropout of the pooled output."
)
@click.option("--weight-decay-rate", default=FinetuneConfig.weight_decay_rate, help="Of all but biases and LayerNorm.")
@click.option(
    "--class-weights",
    default=FinetuneConfig.class_weights,
    metavar="none|balanced|LABEL=NUMBER,...",
    help="Weights in the loss. balanced: every label weighs the same.",
)
@click.option(
    "--precision",
    type=click.Choice(get_args(ComputeDtype)),
    default=FinetuneConfig.precision,
    help="Of activations and matrix products.",
)
@click.option("--save-checkpoints-steps", default=FinetuneConfig.save_checkpoints_steps, help="Beside each epoch's.")
@click.option("--keep-checkpoints", default=FinetuneConfig.keep_checkpoints, help="Newest kept, beside the best.")
@click.option("--random-seed", default=FinetuneConfig.random_seed, help="Of classifier, dropout, order and split.")
@click.option("--seeds", default=1, type=click.IntRange(1), help="Runs, for mean and spread; in OUTPUT/seed-...")
@click.option(
    "--checkpoint", type=click.Choice(["newest", "best"]), default="newest", help="Of a model of ours to begin with."
)
@backend_option
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
    backend: str,
    **config: Any,
) -> None:
    """Fine-tune a BERT to tell labels apart; the same command again goes on from the last checkpoint.

    TABLE is CSV, TSV, JSON lines or Parquet, with a text, or two, and a label in each row. Defaults are those of
    Google's run_classifier.py.
    """
    from deploy.models import choose_backend
    from deploy.using.finetune import Tables, finetune_model
    from pipeline.tables import Fields

    if eval_file and eval_fraction is not None:
        raise click.UsageError(
            "--eval-file and --eval-fraction are both given; the rows held out come from one of them"
        )
    with wrong_usage():
        finetune_config = FinetuneConfig(**config)
        fields = Fields(text_field, text_pair_field, label_field)
    tables = Tables(table, fields, input_format, eval_file, eval_fraction or EVAL_FRACTION, max_rejected)
    choose_backend(backend)
    finetune_model(tables, model_dir, output, finetune_config, seeds, checkpoint)


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="TABLE")
@click.option("--model-dir", required=True, type=Place(), help="Folder that finetune wrote.")
@click.option("--output", required=True, type=Place(dir_okay=False), help="File to write: .csv, .jsonl or .parquet.")
@click.option("--text-field", help="Column of the text. [default: that of the training]")
@click.option("--text-pair-field", help="Column of the second text. [default: that of the training]")
@table_options
@click.option(
    "--checkpoint", type=click.Choice(["newest", "best"]), default="best", help="best: that of the best epoch."
)
@click.option("--num-workers", type=click.IntRange(1), help="Processes, each with a model of its own. [default: 1]")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@backend_option
@engine_options
def predict(
    inputs: tuple[str, ...],
    model_dir: str,
    output: str,
    num_workers: int | None,
    engine: Engine,
    **options: Any,
) -> None:
    """Predict the labels of a table with a fine-tuned model, in constant memory.

    TABLE is CSV, TSV, JSON lines or Parquet. The output has a row for each of its rows, in their order: the likeliest
    label, the probability of each, and of a row that cannot be read the reason.
    """
    from deploy.using.predict import predict_table

    runner, tables = engine.make_runner(inputs, output, num_workers=num_workers)
    if len(tables) > 1:
        raise click.UsageError(f"{len(tables)} tables are given; expected one, as its rows keep their order")
    if runner:
        model_dir, output = (path if is_remote(path) else os.path.abspath(path) for path in (model_dir, output))
        if runner.name == DATAFLOW and not (is_remote(model_dir) and is_remote(output)):
            raise click.UsageError(
                "--model-dir or --output is on this machine, where the workers of Dataflow do not see it; give gs://..."
            )
    predict_table(tables[0], model_dir, output, runner=runner, num_workers=num_workers, **options)
