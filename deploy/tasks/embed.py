"""`maskmill embed`: its options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import click

from maskmill.deploy.tasks.model_source import ModelSource
from maskmill.deploy.tasks.text_options import TEXTS, reading_of
from maskmill.deploy.terminal.cli_types import Place, wrong_usage
from maskmill.deploy.terminal.command import MAKES, READS, RUNS, Command, option, pick, under
from maskmill.deploy.terminal.options import BACKEND, CASE, CHECKPOINT, OVERWRITE, PRECISION, TRAINED
from maskmill.model.tasks.embed_config import EmbedConfig, Pooling, VectorDtype
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.tokenizer.errors import InputError

PARQUET, NPY = ".parquet", ".npy"


@dataclass(frozen=True)
class EmbedRequest:
    """What `embed` is asked for. Raises InputError where the output cannot hold it."""

    inputs: Sequence[str]
    source: ModelSource
    output: str
    config: EmbedConfig
    reading: ReadOptions
    with_text: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.output.endswith((PARQUET, NPY)):
            raise InputError(f"--output {self.output} is given", expected=f"a name that ends in {PARQUET} or {NPY}")
        if self.config.pooling == "tokens" and self.output.endswith(NPY):
            raise InputError(
                f"--pooling tokens gives each text as many vectors as it has tokens, which {NPY} cannot hold",
                expected=f"an --output that ends in {PARQUET}",
            )


@click.command(
    cls=Command,
    stopped="Stopped; nothing was written.",
    examples=(
        "maskmill embed texts.txt --model-dir model --output vectors.parquet",
        "maskmill embed 'data/*.jsonl' --id-field id --model-dir bert-base-uncased --output vectors.npy",
    ),
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@under(READS, TRAINED, CHECKPOINT, CASE, *TEXTS)
@under(
    MAKES,
    option("--output", required=True, type=Place(dir_okay=False), help="File to write: .parquet or .npy."),
    option(
        "--layers",
        default=EmbedConfig.layers,
        metavar="last|last4|N,N,...",
        help="last, last4, or layer numbers such as 0,6,12 (0: the embeddings). Several layers are concatenated.",
    ),
    option(
        "--pooling",
        type=click.Choice(get_args(Pooling)),
        default=EmbedConfig.pooling,
        help="mean, max: over all tokens of a text, with [CLS] and [SEP]. cls: the vector of [CLS]. tokens: one "
        "vector for each token.",
    ),
    option(
        "--dtype", type=click.Choice(get_args(VectorDtype)), default=EmbedConfig.dtype, help="Data type of the vectors."
    ),
    option(
        "--max-seq-length",
        type=int,
        metavar="TOKENS",
        show_default="all positions",
        help="Longest input of the model; longer texts are truncated, or split with --stride.",
    ),
    option(
        "--stride",
        type=int,
        metavar="TOKENS",
        show_default="truncate",
        help="Split a long text into windows that begin every N tokens, and average their vectors.",
    ),
    option("--with-text", is_flag=True, help="Also write the texts."),
    OVERWRITE,
)
@under(
    RUNS,
    BACKEND,
    PRECISION,
    option(
        "--batch-tokens",
        type=int,
        metavar="TOKENS",
        show_default="2,048 on a CPU, 32,768 elsewhere",
        help="Tokens in a batch, padding included.",
    ),
)
def embed(backend: str, **given: Any) -> None:
    """Turn texts into vectors, in Parquet or npy.

    INPUT is a file, a folder or a pattern, as for generate; in plain text every line is a text. Rows are in the
    order of the input. The ids for vectors.npy are written to vectors.ids.jsonl.
    """
    from maskmill.deploy.tasks.embedding import embed_texts
    from maskmill.deploy.terminal.backend import choose_backend

    with wrong_usage():
        source, config = ModelSource(**pick(ModelSource, given)), EmbedConfig(**pick(EmbedConfig, given))
        request = EmbedRequest(source=source, config=config, reading=reading_of(given), **pick(EmbedRequest, given))
    choose_backend(backend)
    embed_texts(request)
