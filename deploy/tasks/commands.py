"""The commands that use a trained model: they read it and change nothing of it."""

from typing import Any, get_args

import click

from maskmill.deploy.terminal.cli_types import Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import MAKES, PRINTS, READS, RUNS, Command, json_option, option, under
from maskmill.deploy.terminal.options import CASE, OVERWRITE, TRAINED
from maskmill.deploy.training.commands import BACKEND, CHECKPOINT, PRECISION
from maskmill.model.bert.config import ComputeDtype
from maskmill.model.tasks.embed_config import EmbedConfig, Pooling, VectorDtype
from maskmill.pipeline.reading.documents import InputFormat, ReadOptions

PARQUET, NPY = ".parquet", ".npy"

TEXTS = (
    option(
        "--input-format",
        type=click.Choice(get_args(InputFormat)),
        default="auto",
        help="lines: a text per line. text: BERT's, where a blank line ends a text. jsonl: an object per line. wiki: "
        "WikiExtractor's <doc>. auto: by content and name, else lines.",
    ),
    option(
        "--text-field",
        default="text",
        metavar="FIELD",
        help="JSONL and Parquet: field of the text; a.b is field b of a.",
    ),
    option(
        "--id-field",
        metavar="FIELD",
        show_default="file and line or row",
        help="JSONL and Parquet: field of the id of a text.",
    ),
)


def reading_of(input_format: InputFormat, text_field: str, id_field: str | None) -> ReadOptions:
    """How texts are read. Raises UsageError where an option cannot be."""
    with wrong_usage():
        return ReadOptions(input_format, text_field, id_field, plain_text="lines")


@click.command(
    cls=Command,
    examples=(
        "maskmill fill-mask --model-dir model 'The function returns a [MASK].'",
        "maskmill fill-mask --model-dir bert-base-uncased --input texts.txt --top-k 3 --json",
    ),
)
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@under(
    READS,
    TRAINED,
    CHECKPOINT,
    CASE,
    option(
        "--input",
        "inputs",
        multiple=True,
        metavar="INPUT",
        help="File, folder or pattern of files with texts that contain [MASK].",
    ),
    *TEXTS,
)
@under(RUNS, BACKEND)
@under(
    PRINTS,
    option("--top-k", default=5, type=Whole(1, 100_000), metavar="N", help="Tokens to show for each [MASK]."),
)
@json_option("a list with an object for each text")
def fill_mask(
    texts: tuple[str, ...],
    model_dir: str,
    inputs: tuple[str, ...],
    input_format: InputFormat,
    text_field: str,
    id_field: str | None,
    top_k: int,
    as_json: bool,
    checkpoint: Any,
    cased: bool | None,
    backend: str,
) -> None:
    """Predict the most likely tokens for each [MASK] in texts.

    TEXT contains [MASK], for example "The function returns a [MASK].".
    """
    from maskmill.deploy.tasks.fill_mask import fill_masks
    from maskmill.deploy.tasks.source import ModelSource
    from maskmill.deploy.training.models import choose_backend

    if not texts and not inputs:
        raise click.UsageError("expected a TEXT with [MASK], or --input with a file of them")
    reading = reading_of(input_format, text_field, id_field)
    choose_backend(backend)
    fill_masks(ModelSource(model_dir, checkpoint, cased), texts, inputs, reading, top_k, as_json)


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
def embed(
    inputs: tuple[str, ...],
    model_dir: str,
    output: str,
    precision: ComputeDtype,
    with_text: bool,
    input_format: InputFormat,
    text_field: str,
    id_field: str | None,
    overwrite: bool,
    checkpoint: Any,
    cased: bool | None,
    backend: str,
    **config: Any,
) -> None:
    """Turn texts into vectors, in Parquet or npy.

    INPUT is a file, a folder or a pattern, as for generate; in plain text every line is a text. Rows are in the
    order of the input. The ids for vectors.npy are written to vectors.ids.jsonl.
    """
    from maskmill.deploy.tasks.embed import embed_texts
    from maskmill.deploy.tasks.source import ModelSource
    from maskmill.deploy.training.models import choose_backend

    if not output.endswith((PARQUET, NPY)):
        raise click.UsageError(f"--output {output} is given; expected a name that ends in {PARQUET} or {NPY}")
    if config["pooling"] == "tokens" and output.endswith(NPY):
        raise click.UsageError(
            f"--pooling tokens gives each text as many vectors as it has tokens, which {NPY} cannot hold; "
            f"expected an --output that ends in {PARQUET}"
        )
    with wrong_usage():
        embed_config = EmbedConfig(**config)
    reading = reading_of(input_format, text_field, id_field)
    choose_backend(backend)
    source = ModelSource(model_dir, checkpoint, cased, precision)
    embed_texts(inputs, source, output, embed_config, reading, with_text, overwrite)
