"""`fill-mask` at work: texts to tables of likely tokens."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import click
from rich.table import Table

from maskmill.deploy.tasks.fill_mask import FillMaskRequest
from maskmill.deploy.tasks.texts import TextReader
from maskmill.deploy.terminal.messages import to_json
from maskmill.deploy.terminal.tables import new_console, new_table
from maskmill.tokenizer.vocab import MASK

if TYPE_CHECKING:
    from maskmill.model.tasks.fill_mask import Filling, MaskFiller

    Filled = tuple[str, str, list[list[Filling]]]  # the id and the text, and what is likely at each of its [MASK]s


def fill_masks(request: FillMaskRequest, as_json: bool) -> None:
    """Prints the likeliest tokens for each `[MASK]` in the texts, and in those that the inputs hold."""
    from maskmill.model.tasks.fill_mask import MaskFiller

    reader = TextReader(request.inputs, request.reading)
    filler = MaskFiller(request.source.open(), request.top_k)
    filled = chain(fill_given(filler, request.texts), fill_read(filler, reader) if request.inputs else ())
    if as_json:
        print_json(filled)
    else:
        console = new_console(unfolded=True)
        for _, text, masks in filled:
            console.print(text)
            console.print(make_table(masks))
    reader.show_dirt()


def fill_given(filler: "MaskFiller", texts: Sequence[str]) -> Iterator["Filled"]:
    """Texts -> the same, filled in; their ids count them from 1."""
    for number, (text, masks) in enumerate(zip(texts, filler.fill(texts)), 1):
        yield str(number), text, masks


def fill_read(filler: "MaskFiller", reader: TextReader) -> Iterator["Filled"]:
    """The texts of a reader, filled in."""
    for some in reader.read_some():
        ids, texts = zip(*some)
        yield from zip(ids, texts, filler.fill(texts, ids))


def print_json(filled: Iterator["Filled"]) -> None:
    """Prints one JSON list, a text in each line: as it goes, for there may be millions of them."""
    between = "["
    for id, text, masks in filled:
        found = [[{"token": token, "probability": float(f"{share:.6g}")} for token, share in best] for best in masks]
        row = to_json({"id": id, "text": text, "masks": found})
        click.echo(f"{between}\n{row}", nl=False)
        between = ","
    click.echo("\n]")


def make_table(masks: "list[list[Filling]]") -> Table:
    """The likeliest tokens of each `[MASK]` side by side, with their probabilities."""
    names = [MASK] if len(masks) == 1 else [f"{MASK} {number}" for number in range(1, len(masks) + 1)]
    table = new_table(*chain.from_iterable((name, "") for name in names))
    for column in table.columns[1::2]:
        column.justify = "right"
    for row in zip(*masks):
        table.add_row(*chain.from_iterable((token, f"{share:.1%}") for token, share in row))
    return table
