"""`maskmill evaluate`: its options."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from maskmill.deploy.terminal.cli_types import Place, Whole
from maskmill.deploy.terminal.command import READS, RUNS, Command, json_option, option, under
from maskmill.deploy.terminal.options import BACKEND, CHECKPOINT, MODEL_DIR
from maskmill.pipeline.dataset.schema import DatasetInfo, Split

if TYPE_CHECKING:
    from maskmill.model.formats.model_dir import WhichCheckpoint


@dataclass(frozen=True)
class EvaluateRequest:
    """What `evaluate` is asked for."""

    dataset: str
    model_dir: str
    split: Split = "eval"
    eval_batch_size: int = 64
    checkpoint: "WhichCheckpoint" = "newest"


@click.command(
    cls=Command,
    examples=(
        "maskmill evaluate shards --model-dir model",
        "maskmill evaluate shards --model-dir model --checkpoint best --json",
    ),
)
@click.argument("dataset", type=Place())
@under(
    READS,
    MODEL_DIR,
    CHECKPOINT,
    option("--split", type=click.Choice(["eval", "train"]), default="eval", help="Examples to evaluate on."),
)
@under(
    RUNS,
    option("--eval-batch-size", default=64, type=Whole(1, 1_000_000), metavar="N", help="Sequences in a batch."),
    BACKEND,
)
@json_option("the metrics, those of guessing, and warnings")
def evaluate(backend: str, as_json: bool, **given: Any) -> None:
    """Evaluate a trained model on held-out documents.

    DATASET is a folder that generate wrote with --eval-fraction. The metrics are also written to eval_results.txt.
    """
    from maskmill.deploy.terminal.backend import choose_backend
    from maskmill.deploy.training.evaluation import evaluate_model

    request = EvaluateRequest(**given)
    DatasetInfo.load(request.dataset, sealed=True)  # before the seconds that Keras takes
    choose_backend(backend)
    evaluate_model(request, as_json)
