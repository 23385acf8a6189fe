"""The command line. A command imports what it needs in its body, so that `maskmill --help` answers at once."""

import os
from pathlib import Path
from typing import Any

import click

from deploy.commands.cli_types import Place, wrong_usage
from deploy.commands.command import (
    MAKES,
    READS,
    STOPPED,
    Command,
    Group,
    json_option,
    option,
    sigterm_as_ctrl_c,
    stopped,
    under,
)
from deploy.commands.engine_options import Engine, engine_options
from deploy.commands.finetune import finetune, predict
from deploy.commands.look import compare, inspect, report, validate
from deploy.commands.make import generate, vocab
from deploy.commands.options import CASED, DOCUMENTS
from deploy.commands.prune import prune
from deploy.commands.tpu import tpu_commands
from deploy.commands.train import evaluate, export, train
from deploy.commands.use import embed, fill_mask
from pipeline.documents import InputFormat, ReadOptions
from tokenizer.errors import InputError

# By module: what pip is to install.
MODULES_OF_EXTRAS = {
    **dict.fromkeys(("keras", "tensorboard", "safetensors", "uniplot"), "'.[train]', or '.[jax]' to run on JAX"),
    **dict.fromkeys(("matplotlib", "jinja2"), "'.[report]'"),
    "tensorflow": "'.[train]'",
    "scipy": "'.[compare]'",
    "jax": "'.[jax]'",
}


class MaskmillGroup(Group):
    """Commands whose errors end as one sentence and exit code 1.

    Wrong usage is 2, as click has it, Ctrl-C 130, SIGTERM 143.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            with sigterm_as_ctrl_c(ctx):
                return super().invoke(ctx)
        except (click.Abort, KeyboardInterrupt):  # at a question, or before a command has begun
            raise stopped(ctx, STOPPED) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as error:
            sentence = find_sentence(error)
            if sentence is None:
                raise
            raise click.ClickException(sentence) from error


def find_sentence(error: Exception) -> str | None:
    """What to tell the user about an error; None when it is a bug of ours, whose traceback should be seen."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.split(".")[0]
        if extras := MODULES_OF_EXTRAS.get(module):
            return f"this command needs {module}, not installed here; in maskmill's folder run: pip install {extras}"
    from model.memory import is_want_of_memory

    if is_want_of_memory(error):
        return "there is not enough memory for it here; give a smaller model or batch, or free some memory"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be used ({error.strerror}); check the path, its permissions and the free space"
    return None


@click.group(
    cls=MaskmillGroup,
    context_settings={"show_default": True, "max_content_width": 100},
    examples=(
        "maskmill vocab    corpus/ --output vocab.txt",
        "maskmill generate corpus/ --vocab-file vocab.txt --output shards --eval-fraction 0.02",
        "maskmill train    shards  --model-dir model --bert-config small",
        "maskmill evaluate shards  --model-dir model",
    ),
)
@click.version_option(package_name="maskmill")
@click.pass_context
def main(context: click.Context) -> None:
    """Raw documents to BERT pre-training shards on Apache Beam, and a Keras BERT trained on them.

    'maskmill COMMAND --help' tells the rest. Exit codes, --quiet, --json, NO_COLOR and completion by your shell are in
    docs/command_line.md.
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        context.color = False  # for what click prints; rich looks by itself


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
) -> None:
    """Check what a run needs before it costs anything.

    It says what is wrong and what helps; the exit code is 1 then. Give what generate will be given; without anything
    the installation alone is checked.
    """
    from deploy.doctor.examine import examine, show
    from deploy.doctor.request import Request

    with wrong_usage():
        reading = ReadOptions(input_format, text_field)
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
    from deploy.demo import run_demo

    run_demo(output, main)


main.add_section("Make data", vocab, generate)
main.add_section("Look at data", inspect, validate, report, compare)
main.add_section("Train a model", train, evaluate, prune, export)
main.add_section("Use a model", fill_mask, embed, finetune, predict)
main.add_section("Cloud, checks and a first try", tpu_commands, doctor, demo)
