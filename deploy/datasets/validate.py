"""`maskmill validate`: its options."""

import click

from maskmill.deploy.terminal.cli_types import Place
from maskmill.deploy.terminal.command import RUNS, Command, json_option, under
from maskmill.deploy.terminal.options import NUM_WORKERS


@click.command(
    cls=Command,
    examples=("maskmill validate shards", "maskmill validate gs://BUCKET/shards more-shards --num-workers 8"),
)
@click.argument("datasets", nargs=-1, required=True, type=Place(), metavar="DATASET...")
@under(RUNS, NUM_WORKERS)
@json_option("a list with an object for each DATASET")
def validate(datasets: tuple[str, ...], num_workers: int | None, as_json: bool) -> None:
    """Read a dataset whole and prove it, or name what is wrong.

    Files, checksums, each example, shares and repeats. What is wrong is named by shard and record, and the exit code is
    1 then. DATASET is a folder that generate wrote.
    """
    from maskmill.deploy.datasets.validation import validate_datasets

    if not validate_datasets(datasets, num_workers, as_json):
        raise click.exceptions.Exit(1)
