"""`maskmill doctor`: its options."""

from typing import Any

import click

from maskmill.deploy.doctor.request import Request
from maskmill.deploy.engines.engine_options import Engine, engine_options
from maskmill.deploy.terminal.cli_types import Place, wrong_usage
from maskmill.deploy.terminal.command import MAKES, READS, Command, json_option, option, pick, under
from maskmill.deploy.terminal.options import CASED, DOCUMENTS
from maskmill.pipeline.reading.documents import ReadOptions


@click.command(
    cls=Command,
    examples=(
        "maskmill doctor",
        "maskmill doctor corpus/ --vocab-file vocab.txt --output shards",
        "maskmill doctor gs://BUCKET/corpus --runner dataflow --project PROJECT --region us-central1",
    ),
)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@under(
    READS,
    option("--vocab-file", type=Place(dir_okay=False), help="Vocabulary, one token a line."),
    *DOCUMENTS,
    CASED,
)
@under(MAKES, option("--output", type=Place(file_okay=False), help="Folder that the run is to write."))
@engine_options
@json_option("a list with an object for each check")
def doctor(engine: Engine, as_json: bool, **given: Any) -> None:
    """Check what a run needs before it costs anything.

    It says what is wrong and what helps; the exit code is 1 then. Give what generate will be given; without anything
    the installation alone is checked.
    """
    from maskmill.deploy.doctor.diagnosis import examine, show

    with wrong_usage():
        reading = ReadOptions(**pick(ReadOptions, given))
    inputs, beam_options = engine.split(given["inputs"])
    request = Request(engine, beam_options, inputs, reading=reading, **pick(Request, given, "inputs"))
    findings = list(examine(request))
    show(findings, as_json)
    if any(finding.state == "wrong" for finding in findings):
        raise click.exceptions.Exit(1)
