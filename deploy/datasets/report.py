"""`maskmill report`: its options."""

from typing import Any

import click

from maskmill.deploy.report.request import ReportRequest
from maskmill.deploy.terminal.cli_types import Place, wrong_usage
from maskmill.deploy.terminal.command import MAKES, READS, RUNS, Command, option, under
from maskmill.deploy.terminal.options import NUM_WORKERS, OVERWRITE, VOCAB_OF_SHARDS


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
def report(**given: Any) -> None:
    """Draw a dataset, or two, into one HTML file.

    Charts, what stands out, and decoded examples. DATASET is as for inspect; give two to see them over each other. The
    page loads nothing from elsewhere.
    """
    from maskmill.deploy.report.page import write_report

    with wrong_usage():
        request = ReportRequest(**given)
    write_report(request)
