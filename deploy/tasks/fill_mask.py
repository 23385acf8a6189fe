"""`maskmill fill-mask`: its options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from maskmill.deploy.tasks.model_source import ModelSource
from maskmill.deploy.tasks.text_options import TEXTS, reading_of
from maskmill.deploy.terminal.cli_types import Whole, wrong_usage
from maskmill.deploy.terminal.command import PRINTS, READS, RUNS, Command, json_option, option, pick, under
from maskmill.deploy.terminal.options import BACKEND, CASE, CHECKPOINT, TRAINED
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.tokenizer.errors import InputError


@dataclass(frozen=True)
class FillMaskRequest:
    """What `fill-mask` is asked for. Raises InputError where there is no text."""

    source: ModelSource
    texts: Sequence[str]  # from the command line
    inputs: Sequence[str]  # files of more
    reading: ReadOptions
    top_k: int

    def __post_init__(self) -> None:
        if not self.texts and not self.inputs:
            raise InputError("expected a TEXT with [MASK], or --input with a file of them")


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
def fill_mask(backend: str, as_json: bool, **given: Any) -> None:
    """Predict the most likely tokens for each [MASK] in texts.

    TEXT contains [MASK], for example "The function returns a [MASK].".
    """
    from maskmill.deploy.tasks.mask_filling import fill_masks
    from maskmill.deploy.terminal.backend import choose_backend

    with wrong_usage():
        source = ModelSource(**pick(ModelSource, given))
        request = FillMaskRequest(source, reading=reading_of(given), **pick(FillMaskRequest, given))
    choose_backend(backend)
    fill_masks(request, as_json)
