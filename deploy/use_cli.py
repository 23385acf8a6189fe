"""The commands that use a trained model: they read it and change nothing of it."""

from collections.abc import Callable
from typing import Any, get_args

import click

from deploy.cli_types import Place, wrong_usage
from deploy.model_cli import backend_option, checkpoint_option
from model.config import ComputeDtype
from model.tasks.config import EmbedConfig, Pooling, VectorDtype
from pipeline.documents import InputFormat, ReadOptions

PARQUET, NPY = ".parquet", ".npy"

trained_option = click.option(
    "--model-dir",
    required=True,
    type=Place(),
    help="The model: a folder of 'maskmill train', a Hugging Face folder, or Google's checkpoint with its vocab.txt.",
)


def text_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what texts look like."""
    for option in (
        click.option("--id-field", help="JSONL and Parquet: what names a text. [default: file and line or row]"),
        click.option("--text-field", default="text", help="JSONL and Parquet: what holds the text; a.b is b in a."),
        click.option(
            "--input-format",
            type=click.Choice(get_args(InputFormat)),
            default="auto",
            help="lines: a text per line. text: BERT's, where a blank line ends a text. jsonl: an object per line. "
            "wiki: WikiExtractor's <doc>. auto: by content and name, else lines.",
        ),
    ):
        command = option(command)
    return command


def reading_of(input_format: InputFormat, text_field: str, id_field: str | None) -> ReadOptions:
    """How texts are read. Raises UsageError where an option cannot be."""
    with wrong_usage():
        return ReadOptions(input_format, text_field, id_field, plain_text="lines")


@click.command()
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@trained_option
@click.option("--input", "inputs", multiple=True, help="File, folder or pattern with texts, each with a [MASK].")
@text_options
@click.option("--top-k", default=5, type=click.IntRange(1), help="Tokens to show for each [MASK].")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead, an object for each text.")
@checkpoint_option
@backend_option
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
    backend: str,
) -> None:
    """Fill each [MASK] in texts with the likeliest tokens, and tell their probabilities.

    \b
      maskmill fill-mask --model-dir model "The function returns a [MASK]."
      maskmill fill-mask --model-dir bert-base-uncased --input texts.txt --top-k 3 --json
    """  # noqa: D301, click's \b
    from deploy.models import choose_backend
    from deploy.using.fill_mask import fill_masks

    if not texts and not inputs:
        raise click.UsageError("expected a TEXT with [MASK], or --input with a file of them")
    reading = reading_of(input_format, text_field, id_field)
    choose_backend(backend)
    fill_masks(model_dir, texts, inputs, reading, top_k, checkpoint, as_json)


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@trained_option
@click.option("--output", required=True, type=Place(dir_okay=False), help="File to write: .parquet or .npy.")
@click.option(
    "--layers",
    default=EmbedConfig.layers,
    help="last, last4, or numbers such as 0,6,12 (0: the embeddings). Several are put side by side.",
)
@click.option(
    "--pooling",
    type=click.Choice(get_args(Pooling)),
    default=EmbedConfig.pooling,
    help="Of all tokens of a text, [CLS] and [SEP] too: the mean or the largest values. cls: the vector of [CLS]. "
    "tokens: one for each token.",
)
@click.option("--dtype", type=click.Choice(get_args(VectorDtype)), default=EmbedConfig.dtype, help="Of the vectors.")
@click.option("--max-seq-length", type=int, help="Tokens of a text that are seen at once. [default: all positions]")
@click.option(
    "--stride", type=int, help="Take the average over windows of a long text, so many tokens apart. [default: cut it]"
)
@click.option(
    "--precision",
    type=click.Choice(get_args(ComputeDtype)),
    default="float32",
    help="Of activations and matrix products. bfloat16 is faster where the processor has it.",
)
@click.option(
    "--batch-tokens", type=int, help="Tokens at a time, padding too. [default: 2,048 on a CPU, 32,768 elsewhere]"
)
@click.option("--with-text", is_flag=True, help="Write the texts, too.")
@text_options
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@checkpoint_option
@backend_option
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
    backend: str,
    **config: Any,
) -> None:
    """Turn texts into vectors, in Parquet (id, vector) or npy.

    INPUT is a file, a folder or a pattern, as for generate; in plain text every line is a text. Rows stand in the order
    of the input. Beside vectors.npy, vectors.ids.jsonl holds the ids.

    \b
      maskmill embed texts.txt --model-dir model --output vectors.parquet
      maskmill embed 'data/*.jsonl' --id-field id --model-dir bert-base-uncased --output vectors.npy --dtype float16
    """  # noqa: D301, click's \b
    from deploy.models import choose_backend
    from deploy.using.embed import embed_texts

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
    embed_texts(inputs, model_dir, output, embed_config, reading, precision, checkpoint, with_text, overwrite)
