"""The commands that look at datasets: they read them and change nothing."""

import click

from deploy.cli_types import Place


@click.command()
@click.argument("dataset", type=Place())
@click.option("-n", "count", default=3, type=click.IntRange(0), help="Decoded examples to show.")
@click.option("--shard", metavar="NAME", help="Only this shard, and examples of it. [default: examples to train on]")
@click.option("--random-seed", type=click.IntRange(0), help="Draw the examples uniformly, instead of the first ones.")
@click.option("--grep", metavar="WORD", help="Only examples that hold the word, masked or not.")
@click.option("--vocab-file", type=Place(), help="Vocabulary. [default: the vocab.txt beside the shards]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the manifest, all shards, and the examples.")
def inspect(
    dataset: str,
    count: int,
    shard: str | None,
    random_seed: int | None,
    grep: str | None,
    vocab_file: str | None,
    as_json: bool,
) -> None:
    """Show what is in a dataset: its manifest as tables, and decoded examples.

    DATASET is a folder that generate wrote; or a folder, a file or a pattern of TFRecords that google-research/bert or
    TF Model Garden made. In an example [MASK→word] is to be predicted from a mask, [keep→word] from the word itself,
    [other→word] from a random word.
    """
    from deploy.inspection import inspect_dataset

    inspect_dataset(dataset, count, shard, random_seed, grep, vocab_file, as_json)


@click.command()
@click.argument("datasets", nargs=-1, required=True, type=Place(), metavar="DATASET...")
@click.option("--num-workers", type=click.IntRange(1), help="Processes. [default: by the size of the shards]")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead, an object for each DATASET.")
def validate(datasets: tuple[str, ...], num_workers: int | None, as_json: bool) -> None:
    """Read everything in a dataset and prove it: files, checksums, each example, shares and repeats.

    Names what is wrong by shard and record. Exit code 1 when something is.
    """
    from deploy.validate import validate_datasets

    if not validate_datasets(datasets, num_workers, as_json):
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("datasets", nargs=-1, required=True, type=Place(), metavar="DATASET [DATASET]")
@click.option("--output", required=True, type=Place(dir_okay=False), help="HTML file to write, such as report.html.")
@click.option("--vocab-file", type=Place(dir_okay=False), help="Vocabulary. [default: the vocab.txt beside the shards]")
@click.option("--num-workers", type=click.IntRange(1), help="Processes. [default: by the size of the datasets]")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
def report(
    datasets: tuple[str, ...], output: str, vocab_file: str | None, num_workers: int | None, overwrite: bool
) -> None:
    """Write what a dataset looks like into one HTML file: charts, what stands out, decoded examples.

    DATASET is as for inspect; give two to see them over each other. The page loads nothing from elsewhere.
    """
    from deploy.report.page import MOST_DATASETS, write_report

    if len(datasets) > MOST_DATASETS:
        raise click.UsageError(f"{len(datasets)} datasets are given; a report shows one, or two over each other")
    write_report(datasets, output, vocab_file=vocab_file, num_workers=num_workers, overwrite=overwrite)


@click.command()
@click.argument("a", type=Place())
@click.argument("b", type=Place())
@click.option("--vocab-file", type=Place(), help="Vocabulary of both. [default: the vocab.txt beside the shards]")
@click.option("--num-workers", type=click.IntRange(1), help="Processes. [default: by the size of the datasets]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def compare(a: str, b: str, vocab_file: str | None, num_workers: int | None, as_json: bool) -> None:
    """Say whether datasets A and B are the same in bytes or in content, or agree in distribution.

    A and B are folders that generate wrote, or TFRecords that google-research/bert or TF Model Garden made. Exit code 0
    when they are the same or agree, 1 when they differ. docs/looking.md says how it is judged.
    """
    from deploy.comparison import show_comparison

    if not show_comparison(a, b, vocab_file, num_workers, as_json):
        raise click.exceptions.Exit(1)
