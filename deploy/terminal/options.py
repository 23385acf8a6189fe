"""Options that several commands have."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, get_args

import click

from maskmill.deploy.terminal.cli_types import MOST_WORKERS, Bytes, Place, Whole
from maskmill.deploy.terminal.command import option
from maskmill.deploy.terminal.messages import warn
from maskmill.model.bert.config import ComputeDtype
from maskmill.model.pretraining.config import TrainConfig
from maskmill.pipeline.dataset.config import Objective
from maskmill.pipeline.reading.documents import MAX_DOCUMENT_BYTES, MAX_REJECTED, InputFormat
from maskmill.pipeline.tables.fields import TableFormat

OF_TOKENS = "that of the dataset"

TEXT_FIELD = option(
    "--text-field",
    default="text",
    metavar="FIELD",
    help="JSONL and Parquet: field of the text; a.b is field b of a.",
)
DOCUMENTS = (
    option(
        "--input-format",
        type=click.Choice(get_args(InputFormat)),
        default="auto",
        help="text: a sentence per line, a blank line between documents. lines: a document per line. jsonl: an object "
        "per line. wiki: WikiExtractor's <doc>. auto: by content and name.",
    ),
    TEXT_FIELD,
    option(
        "--max-document-bytes",
        type=Bytes(),
        default=MAX_DOCUMENT_BYTES,
        show_default="100MB",
        metavar="BYTES",
        help="Longer lines, documents and cells are rejected. Reading one takes about six times its size in memory.",
    ),
)
REJECTED = option(
    "--max-rejected",
    default=MAX_REJECTED,
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Largest share of unusable documents or rows; the run fails above it.",
)
DRAWN = (  # how copies of a dataset of tokens are drawn; the length apart
    option(
        "--objective",
        type=click.Choice(get_args(Objective)),
        show_default=OF_TOKENS,
        help="Objective: nsp, sop or mlm, as for generate.",
    ),
    option(
        "--masked-lm-prob",
        type=float,
        metavar="SHARE",
        show_default=OF_TOKENS,
        help="Share of the tokens that are masked.",
    ),
    option(
        "--short-seq-prob",
        type=float,
        metavar="SHARE",
        show_default=OF_TOKENS,
        help="Probability that a document is cut into shorter sequences.",
    ),
    option(
        "--whole-word-mask/--no-whole-word-mask",
        default=None,
        show_default=OF_TOKENS,
        help="Whether all tokens of a word are masked together.",
    ),
)
CASED = option("--cased", is_flag=True, help="Keep case and accents; give it to both vocab and generate.")
OVERWRITE = option("--overwrite", is_flag=True, help="Replace existing output.")
NUM_WORKERS = option(
    "--num-workers",
    type=Whole(1, MOST_WORKERS),
    metavar="N",
    show_default="by the size of the input",
    help="Number of processes on this machine.",
)
VOCAB_OF_SHARDS = option(
    "--vocab-file",
    type=Place(dir_okay=False),
    show_default="the vocab.txt beside the shards",
    help="Vocabulary, one token a line.",
)
TRAINED = option(
    "--model-dir",
    required=True,
    type=Place(),
    help="The model: a folder of 'maskmill train', a Hugging Face folder, or Google's checkpoint with its vocab.txt.",
)
CASE = option(
    "--cased/--uncased",
    default=None,
    show_default="by the files beside the model, its name or vocabulary",
    help="For a model of others: keep the case and accents of text, or lower-case it.",
)
TABLE_FORMAT = option(
    "--input-format",
    type=click.Choice(get_args(TableFormat)),
    default="auto",
    help="auto: by name and content. The first line of CSV and TSV names the columns.",
)


def default_backend() -> str:
    """TensorFlow; where only JAX is installed, that, which is then said."""
    if find_spec("tensorflow") or not find_spec("jax"):
        return "tensorflow"
    warn("TensorFlow is not installed here; Keras runs on JAX.")
    return "jax"


MODEL_DIR = option("--model-dir", required=True, type=Place(file_okay=False), help="Folder of the model.")
CHECKPOINT = option(
    "--checkpoint",
    type=click.Choice(["newest", "best"]),
    default="newest",
    help="newest, or best: the one with the lowest loss on held-out documents, found by --eval-every.",
)
BACKEND = option(
    "--backend",
    type=click.Choice(["tensorflow", "jax"]),
    default=default_backend,
    show_default="tensorflow; jax where only that is installed",
    envvar="KERAS_BACKEND",
    show_envvar=True,
    help="Backend of Keras.",
)
SAVE_CHECKPOINTS_STEPS = option(
    "--save-checkpoints-steps",
    default=TrainConfig.save_checkpoints_steps,
    metavar="STEPS",
    help="Steps between checkpoints.",
)
KEEP_CHECKPOINTS = option(
    "--keep-checkpoints",
    default=TrainConfig.keep_checkpoints,
    metavar="N",
    help="Number of newest checkpoints to keep.",
)
TRAIN_BATCH_SIZE = option(
    "--train-batch-size", default=TrainConfig.train_batch_size, metavar="N", help="Sequences per step."
)
LEARNING_RATE = option(
    "--learning-rate",
    default=TrainConfig.learning_rate,
    metavar="RATE",
    help="Peak learning rate, reached after the warm-up.",
)
PRECISION = option(
    "--precision",
    type=click.Choice(get_args(ComputeDtype)),
    default=TrainConfig.precision,
    help="Data type of activations and matrix products. bfloat16 is faster on processors that support it.",
)


def changes_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options among DRAWN that are given, as `with_changes` takes them."""
    names = ("objective", "masked_lm_prob", "short_seq_prob", "whole_word_mask")
    return {name: given[name] for name in names if given[name] is not None}
