"""`maskmill compare`: its options."""

import click

from maskmill.deploy.terminal.cli_types import Place
from maskmill.deploy.terminal.command import READS, RUNS, Command, json_option, under
from maskmill.deploy.terminal.options import NUM_WORKERS, VOCAB_OF_SHARDS


@click.command(
    cls=Command,
    examples=("maskmill compare shards other-shards", "maskmill compare theirs shards --vocab-file vocab.txt"),
)
@click.argument("a", type=Place())
@click.argument("b", type=Place())
@under(READS, VOCAB_OF_SHARDS)
@under(RUNS, NUM_WORKERS)
@json_option("the outcome, and all that was compared")
def compare(a: str, b: str, vocab_file: str | None, num_workers: int | None, as_json: bool) -> None:
    """Say whether datasets A and B are the same, agree, or differ.

    The same in bytes, the same in content, or alike in distribution. A and B are as DATASET is for inspect. The exit
    code is 0 when they are the same or agree, and 1 when they differ; docs/looking.md says how it is judged.
    """
    from maskmill.deploy.datasets.comparison import show_comparison

    if not show_comparison(a, b, vocab_file, num_workers, as_json):
        raise click.exceptions.Exit(1)
