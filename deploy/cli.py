"""The command line. A command imports what it needs in its body, so that `maskmill --help` answers at once."""

import errno
import logging
import os
from typing import Any

import click

from maskmill.deploy.data.generate import generate
from maskmill.deploy.data.vocab import vocab
from maskmill.deploy.datasets.compare import compare
from maskmill.deploy.datasets.inspect import inspect
from maskmill.deploy.datasets.report import report
from maskmill.deploy.datasets.validate import validate
from maskmill.deploy.demo.demo import demo
from maskmill.deploy.doctor.doctor import doctor
from maskmill.deploy.tasks.embed import embed
from maskmill.deploy.tasks.fill_mask import fill_mask
from maskmill.deploy.tasks.finetune import finetune
from maskmill.deploy.tasks.predict import predict
from maskmill.deploy.terminal.command import STOPPED, Group, signals_as_ctrl_c, stopped
from maskmill.deploy.terminal.printable import visible, visible_in_line
from maskmill.deploy.terminal.streams import find_lost_output, safe_streams
from maskmill.deploy.tpu.tpu import tpu_commands
from maskmill.deploy.training.evaluate import evaluate
from maskmill.deploy.training.export import export
from maskmill.deploy.training.prune import prune
from maskmill.deploy.training.train import train
from maskmill.tokenizer.errors import InputError

MOST_SAID = 3000  # characters of an error, which may quote a value of any length
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

    Wrong usage is 2, as click has it, Ctrl-C 130, SIGTERM 143, SIGHUP 129.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Takes the command line."""
        with safe_streams():
            return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with signals_as_ctrl_c(ctx):
                return super().invoke(ctx)
        except (click.Abort, KeyboardInterrupt):  # at a question, or before a command has begun
            raise stopped(ctx, STOPPED) from None
        except click.ClickException as error:
            vars(error)["message"] = _clip(visible(error.message))
            raise
        except click.exceptions.Exit:
            raise
        except Exception as error:
            sentence = find_sentence(error)
            if sentence is None and isinstance(error, EOFError):
                raise RuntimeError("a bug: the end of a file was not expected") from error  # click would not show it
            if sentence is None:
                raise
            raise click.ClickException(_clip(visible_in_line(sentence))) from error


class _VisibleFormatter(logging.Formatter):
    """Of warnings that are logged: they may quote data."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _clip(message: str) -> str:
    return message if len(message) <= MOST_SAID else f"{message[:MOST_SAID]}..."


def find_sentence(error: Exception) -> str | None:
    """What to tell the user about an error; None when it is a bug of ours, whose traceback should be seen."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.split(".")[0]
        if extras := MODULES_OF_EXTRAS.get(module):
            return f"this command needs {module}, not installed here; in maskmill's folder run: pip install {extras}"
    from maskmill.model.training.memory import is_want_of_memory

    if is_want_of_memory(error):
        return "there is not enough memory for it here; give a smaller model or batch, or free some memory"
    if isinstance(error, BrokenPipeError) or not isinstance(error, OSError):
        return None
    if error.filename:
        return f"{error.filename} cannot be used ({error.strerror}); check the path, its permissions and the free space"
    if lost := find_lost_output():
        return f"the output cannot be written ({lost.strerror}); make room, or send it to another place"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOENT):  # the last: no temporary folder
        return (
            f"a temporary file cannot be written ({error.strerror}); make room in {os.environ.get('TMPDIR', '/tmp')}, "
            "or set TMPDIR to another folder"
        )
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
    if logging.lastResort:
        logging.lastResort.setFormatter(_VisibleFormatter())
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        context.color = False  # for what click prints; rich looks by itself


main.add_section("Make data", vocab, generate)
main.add_section("Look at data", inspect, validate, report, compare)
main.add_section("Train a model", train, evaluate, prune, export)
main.add_section("Use a model", fill_mask, embed, finetune, predict)
main.add_section("Cloud, checks and a first try", tpu_commands, doctor, demo)
