"""`maskmill predict`: its options."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from maskmill.deploy.engines.engine_options import DATAFLOW, Engine, engine_options
from maskmill.deploy.terminal.cli_types import MOST_WORKERS, Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import MAKES, READS, RUNS, Command, option, pick, under
from maskmill.deploy.terminal.options import BACKEND, OVERWRITE, TABLE_FORMAT
from maskmill.pipeline.storage.storage import absolute, is_remote
from maskmill.pipeline.tables.fields import TableFormat

if TYPE_CHECKING:
    from maskmill.deploy.engines.jobs import Runner
    from maskmill.model.formats.model_dir import WhichCheckpoint


@dataclass(frozen=True)
class PredictRequest:
    """What `predict` is asked for."""

    table: str
    model_dir: str
    output: str
    text_field: str | None = None  # None: that of the training; so with the next
    text_pair_field: str | None = None
    input_format: TableFormat = "auto"
    checkpoint: "WhichCheckpoint" = "best"
    backend: str = "tensorflow"
    overwrite: bool = False
    escape_formulas: bool = False
    num_workers: int | None = None  # None: one
    runner: "Runner | None" = None  # None: on this machine


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
def predict(engine: Engine, **given: Any) -> None:
    """Label the rows of a table with a fine-tuned model.

    TABLE is CSV, TSV, JSON lines or Parquet. The output has a row for each of its rows, in their order: the most
    likely label and the probability of each label, or the reason why the row cannot be read.
    """
    from maskmill.deploy.tasks.prediction import predict_table
    from maskmill.pipeline.tables.predictions import writer_for

    with wrong_usage():
        writer_for(given["output"], given["escape_formulas"])
    runner, tables = engine.make_runner(given["inputs"], given["output"], num_workers=given["num_workers"])
    if len(tables) > 1:
        raise click.UsageError(f"{len(tables)} tables are given; expected one, as its rows keep their order")
    if runner:
        given |= {name: absolute(given[name]) for name in ("model_dir", "output")}
        if runner.name == DATAFLOW and not (is_remote(given["model_dir"]) and is_remote(given["output"])):
            raise click.UsageError(
                "--model-dir or --output is on this machine, where the workers of Dataflow do not see it; give gs://..."
            )
    predict_table(PredictRequest(tables[0], runner=runner, **pick(PredictRequest, given)))
