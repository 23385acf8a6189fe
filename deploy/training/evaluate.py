"""`maskmill evaluate`: its options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from maskmill.deploy.terminal.cli_types import Place, Whole
from maskmill.deploy.terminal.command import READS, RUNS, Command, json_option, option, pick, under
from maskmill.deploy.terminal.options import BACKEND, CHECKPOINT, DRAWN, MODEL_DIR, OF_TOKENS, changes_of
from maskmill.model.pretraining.config import PhaseRequest
from maskmill.pipeline.dataset.schema import Split

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
    changes: Mapping[str, Any] = field(default_factory=dict)  # of a dataset of tokens, see `with_changes`


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
    "For a dataset of tokens",
    option(
        "--max-seq-length",
        type=int,
        metavar="TOKENS",
        show_default=OF_TOKENS,
        help="Tokens of an instance.",
    ),
    *DRAWN,
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

    length = {} if given["max_seq_length"] is None else {"max_seq_length": given["max_seq_length"]}
    request = EvaluateRequest(**pick(EvaluateRequest, given), changes={**length, **changes_of(given)})
    PhaseRequest(request.dataset, changes=request.changes).open()  # before the seconds that Keras takes
    choose_backend(backend)
    evaluate_model(request, as_json)
