"""The options of commands that read texts."""

from collections.abc import Mapping
from typing import Any, get_args

import click

from maskmill.deploy.terminal.command import option, pick
from maskmill.deploy.terminal.options import TEXT_FIELD
from maskmill.pipeline.reading.documents import InputFormat, ReadOptions

TEXTS = (
    option(
        "--input-format",
        type=click.Choice(get_args(InputFormat)),
        default="auto",
        help="lines: a text per line. text: BERT's, where a blank line ends a text. jsonl: an object per line. wiki: "
        "WikiExtractor's <doc>. auto: by content and name, else lines.",
    ),
    TEXT_FIELD,
    option(
        "--id-field",
        metavar="FIELD",
        show_default="file and line or row",
        help="JSONL and Parquet: field of the id of a text.",
    ),
)


def reading_of(given: Mapping[str, Any]) -> ReadOptions:
    """How texts are read. Raises InputError where an option cannot be."""
    return ReadOptions(plain_text="lines", **pick(ReadOptions, given))
