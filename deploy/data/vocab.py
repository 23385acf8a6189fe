"""`maskmill vocab`: its options."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from maskmill.deploy.engines.engine_options import Engine, engine_options
from maskmill.deploy.terminal.cli_types import Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import MAKES, READS, RUNS, Command, json_option, option, pick, under
from maskmill.deploy.terminal.options import CASED, DOCUMENTS, NUM_WORKERS, OVERWRITE, REJECTED
from maskmill.pipeline.reading.documents import MAX_REJECTED, ReadOptions
from maskmill.tokenizer.config import VocabConfig

if TYPE_CHECKING:
    from maskmill.deploy.engines.jobs import Runner

MOST_TOKENS = 1 << 24  # of a vocabulary; BERT's have 30,522 and 119,547


@dataclass(frozen=True)
class VocabRequest:
    """What `vocab` is asked for."""

    inputs: Sequence[str]
    output: str
    config: VocabConfig
    reading: ReadOptions = field(default_factory=ReadOptions)
    num_workers: int | None = None  # None: by the size of the input
    overwrite: bool = False
    max_rejected: float = MAX_REJECTED  # share of the documents that may be rejected
    runner: "Runner | None" = None  # None: on this machine


@click.command(
    cls=Command,
    stopped="Stopped; no vocabulary was written.",
    examples=(
        "maskmill vocab corpus/ --output vocab.txt",
        "maskmill vocab 'books/*.jsonl.gz' --text-field body --cased --output cased.txt --vocab-size 28996",
    ),
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@under(READS, *DOCUMENTS, REJECTED)
@under(
    MAKES,
    option("--output", required=True, type=Place(dir_okay=False), help="File to write, such as vocab.txt."),
    option(
        "--vocab-size",
        default=VocabConfig.vocab_size,
        type=Whole(6, MOST_TOKENS),
        metavar="N",
        help="Number of tokens, special tokens included.",
    ),
    CASED,
    option(
        "--min-frequency",
        default=VocabConfig.min_frequency,
        type=Whole(1),
        metavar="N",
        help="Pairs of pieces that occur less often are not merged.",
    ),
    option(
        "--limit-alphabet",
        type=Whole(1, 0x110000),
        metavar="N",
        show_default="a quarter of --vocab-size, at least 1,000, or what fits",
        help="Number of characters to keep, the most frequent first.",
    ),
    option(
        "--reserve",
        default=VocabConfig.reserve,
        type=Whole(0, MOST_TOKENS),
        metavar="N",
        help="Number of tokens [unused0], [unused1], ... for later use.",
    ),
    option(
        "--special-tokens",
        default="",
        show_default=False,
        metavar="[A],[B]",
        help="Additional special tokens.",
    ),
    OVERWRITE,
)
@under(RUNS, NUM_WORKERS)
@engine_options
@json_option("what was made")
def vocab(engine: Engine, as_json: bool, **given: Any) -> None:
    """Train a WordPiece vocabulary on documents.

    INPUT is a file, a folder or a pattern: text, JSONL, Parquet or WikiExtractor's output, plain, .gz, .zst, .bz2 or
    .xz. A tokenizer.json is written beside the vocabulary.
    """
    from maskmill.deploy.data.vocabulary import train_vocab_file

    with wrong_usage():
        config = VocabConfig(
            special_tokens=tuple(filter(None, given.pop("special_tokens").split(","))), **pick(VocabConfig, given)
        )
        reading = ReadOptions(**pick(ReadOptions, given))
    runner, files = engine.make_runner(given["inputs"], given["output"], num_workers=given["num_workers"])
    request = VocabRequest(files, config=config, reading=reading, runner=runner, **pick(VocabRequest, given, "inputs"))
    train_vocab_file(request, as_json)
