"""`doctor` and `demo` on the command line: whether a run can succeed, and one that does."""

from pathlib import Path

import click

from maskmill.deploy.engines.engine_options import Engine, engine_options
from maskmill.deploy.terminal.cli_types import Place, wrong_usage
from maskmill.deploy.terminal.command import MAKES, READS, Command, json_option, option, under
from maskmill.deploy.terminal.options import CASED, DOCUMENTS
from maskmill.pipeline.reading.documents import InputFormat, ReadOptions


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
def doctor(
    inputs: tuple[str, ...],
    vocab_file: str | None,
    output: str | None,
    cased: bool,
    as_json: bool,
    engine: Engine,
    input_format: InputFormat,
    text_field: str,
    max_document_bytes: int,
) -> None:
    """Check what a run needs before it costs anything.

    It says what is wrong and what helps; the exit code is 1 then. Give what generate will be given; without anything
    the installation alone is checked.
    """
    from maskmill.deploy.doctor.examine import examine, show
    from maskmill.deploy.doctor.request import Request

    with wrong_usage():
        reading = ReadOptions(input_format, text_field, max_document_bytes=max_document_bytes)
    files, beam_options = engine.split(inputs)
    findings = list(examine(Request(engine, beam_options, files, vocab_file, output, cased, reading)))
    show(findings, as_json)
    if any(finding.state == "wrong" for finding in findings):
        raise click.exceptions.Exit(1)


@click.command(cls=Command, examples=("maskmill demo", "maskmill demo --output /tmp/demo"))
@under(
    MAKES,
    option(
        "--output",
        default="demo",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder to write, on this machine.",
    ),
)
def demo(output: Path) -> None:
    """All of it, on documentation that this machine has.

    That of the installed Python packages becomes a vocabulary, shards, and a small BERT, in about four minutes. Each
    command is printed before it runs; those that are done already are not done again.
    """
    from maskmill.deploy.demo.demo import run_demo

    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)
    run_demo(output, root)
