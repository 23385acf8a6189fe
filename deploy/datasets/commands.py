"""The commands that look at datasets: they read them and change nothing."""

import click

from maskmill.deploy.terminal.cli_types import SEED, Place, Whole
from maskmill.deploy.terminal.command import MAKES, PRINTS, READS, RUNS, Command, json_option, option, under
from maskmill.deploy.terminal.options import NUM_WORKERS, OVERWRITE, VOCAB_OF_SHARDS


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
def inspect(
    dataset: str,
    count: int,
    shard: str | None,
    random_seed: int | None,
    grep: str | None,
    vocab_file: str | None,
    as_json: bool,
) -> None:
    """Show what is in a dataset: tables, and decoded examples.

    DATASET is a folder that generate wrote; or a folder, a file or a pattern of TFRecords that google-research/bert or
    TF Model Garden made. In an example [MASK→word] is to be predicted from a mask, [keep→word] from the word itself,
    [other→word] from a random word.
    """
    from maskmill.deploy.datasets.inspection import inspect_dataset

    inspect_dataset(dataset, count, shard, random_seed, grep, vocab_file, as_json)


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
    from maskmill.deploy.datasets.validate import validate_datasets

    if not validate_datasets(datasets, num_workers, as_json):
        raise click.exceptions.Exit(1)


@click.command(
    cls=Command,
    stopped="Stopped; no report was written.",
    examples=(
        "maskmill report shards --output report.html --documents corpus/",
        "maskmill report shards theirs --vocab-file vocab.txt --output both.html",
    ),
)
@click.argument("datasets", nargs=-1, required=True, type=Place(), metavar="DATASET [DATASET]")
@under(
    READS,
    VOCAB_OF_SHARDS,
    option(
        "--documents",
        multiple=True,
        type=Place(),
        metavar="INPUT",
        show_default="none",
        help="Documents that DATASET was made from: shows which words became [UNK]. May be repeated.",
    ),
)
@under(
    MAKES,
    option("--output", required=True, type=Place(dir_okay=False), help="HTML file to write, such as report.html."),
    OVERWRITE,
)
@under(RUNS, NUM_WORKERS)
def report(
    datasets: tuple[str, ...],
    output: str,
    vocab_file: str | None,
    documents: tuple[str, ...],
    num_workers: int | None,
    overwrite: bool,
) -> None:
    """Draw a dataset, or two, into one HTML file.

    Charts, what stands out, and decoded examples. DATASET is as for inspect; give two to see them over each other. The
    page loads nothing from elsewhere.
    """
    from maskmill.deploy.report.page import MOST_DATASETS, write_report

    if len(datasets) > MOST_DATASETS:
        raise click.UsageError(f"{len(datasets)} datasets are given; a report shows one, or two over each other")
    write_report(
        datasets, output, vocab_file=vocab_file, documents=documents, num_workers=num_workers, overwrite=overwrite
    )


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
