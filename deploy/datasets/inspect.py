"""`maskmill inspect`: its options."""

from dataclasses import dataclass
from typing import Any

import click

from maskmill.deploy.terminal.cli_types import SEED, Place, Whole
from maskmill.deploy.terminal.command import PRINTS, READS, Command, json_option, option, under
from maskmill.deploy.terminal.options import VOCAB_OF_SHARDS


@dataclass(frozen=True)
class InspectRequest:
    """What `inspect` is asked for."""

    dataset: str  # what `open_dataset` opens
    count: int  # of examples to show
    shard: str | None = None  # its name; None: all, and examples to train on
    random_seed: int | None = None  # of the examples that are drawn; None: the first ones
    grep: str | None = None  # a word that examples are to hold
    vocab_file: str | None = None


@click.command(
    cls=Command,
    examples=(
        "maskmill inspect shards",
        "maskmill inspect shards -n 10 --random-seed 1",
        "maskmill inspect 'theirs/tf_examples.tfrecord*' --vocab-file vocab.txt --grep river",
    ),
)
@click.argument("dataset", type=Place())
@under(
    READS,
    VOCAB_OF_SHARDS,
    option(
        "--shard",
        metavar="NAME",
        show_default="all, and examples to train on",
        help="Only this shard, and examples of it.",
    ),
)
@under(
    PRINTS,
    option(
        "-n",
        "--num-examples",
        "count",
        default=3,
        type=Whole(0, 100_000),
        metavar="N",
        help="Decoded examples to show.",
    ),
    option(
        "--random-seed",
        type=SEED,
        metavar="N",
        help="Draw the examples uniformly, instead of the first ones.",
    ),
    option("--grep", metavar="WORD", help="Only examples that hold the word, masked or not."),
)
@json_option("the manifest, all shards, and the examples")
def inspect(as_json: bool, **given: Any) -> None:
    """Show what is in a dataset: tables, and decoded examples.

    DATASET is a folder that generate wrote; or a folder, a file or a pattern of TFRecords that google-research/bert or
    TF Model Garden made. In an example [MASK→word] is to be predicted from a mask, [keep→word] from the word itself,
    [other→word] from a random word.
    """
    from maskmill.deploy.datasets.inspection import inspect_dataset

    inspect_dataset(InspectRequest(**given), as_json)
