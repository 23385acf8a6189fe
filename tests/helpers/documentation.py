"""The commands and the code in the documentation: found, and checked against the command line as it is."""

import re
import shlex

import click
from places import ROOT

from maskmill.deploy.cli import main
from maskmill.deploy.tpu.tpu import check_training
from maskmill.deploy.training.train import make_request

PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "deploy/**/*.md")
    for path in ROOT.glob(pattern)
)


def read_page(name: str) -> str:
    """A page of docs/."""
    return (ROOT / "docs" / name).read_text()


def blocks(text: str, language: str) -> list[str]:
    """What stands between ```language and ```, also where that is indented."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def join_lines(block: str) -> list[str]:
    """The lines of a block, those that end in a backslash joined to the next."""
    return block.replace("\\\n", " ").splitlines()


def console_commands(text: str) -> list[str]:
    """Every command in a console block."""
    lines = [line for block in blocks(text, "console") for line in join_lines(block)]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


def quoted_commands(text: str) -> list[str]:
    """Every command with an option that a sentence or a table quotes."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [" ".join(one.split()) for one in re.findall(r"`((?:maskmill|gcloud) [^`]*\s--[^`]*)`", prose)]


def commands_in(text: str) -> list[str]:
    """Every command of a page, those that sentences quote last."""
    return console_commands(text) + quoted_commands(text)


def maskmill_commands() -> dict[str, list[str]]:
    """`page: command` of every `maskmill` on every page -> the words after `maskmill`, as a shell sees them.

    What a sentence quotes, and what has `...` in it, is filled in.
    """
    found = {}
    for page in PAGES:
        text = (ROOT / page).read_text()
        for command in console_commands(text):
            if is_maskmill(command):
                words = words_after_maskmill(command)
                found[f"{page}: {command}"] = fill_in(words) if "..." in words else words
        for command in filter(is_maskmill, quoted_commands(text)):
            found[f"{page}: {command}"] = fill_in(words_after_maskmill(command))
    return found


def is_maskmill(command: str) -> bool:
    """Is it one of ours? Variables may stand before it."""
    return re.match(r"(?:\w+=\S+ )*maskmill ", command) is not None


def words_after_maskmill(command: str) -> list[str]:
    """`A=1 maskmill train shards  # soon` to `["train", "shards"]`."""
    words = shlex.split(command, comments=True)
    return words[words.index("maskmill") + 1 :]


def fill_in(words: list[str]) -> list[str]:
    """A command told by halves, as `maskmill train --eval-every` in a sentence, with what it must have beside."""
    name, *rest = words
    command = main.commands[name]
    if isinstance(command, click.Group):
        return words
    given = [word for word in rest if word != "..."]
    options = {opt: one for one in command.params if isinstance(one, click.Option) for opt in one.opts}
    missing = [opt for opt, one in options.items() if one.required and not set(one.opts) & set(given)]
    if given and given[-1] in options and not options[given[-1]].is_flag:
        given.append("1")
    takes_words = any(isinstance(one, click.Argument) for one in command.params)
    first = ["x"] if takes_words and rest[0].startswith(("-", ".")) else []
    return [name, *first, *given, *(word for option in missing for word in (option, "x"))]


def check_maskmill(arguments: list[str]) -> None:
    """Fails where the command line would refuse the words that follow `maskmill`."""
    command: click.Command = main
    context = click.Context(main, info_name="maskmill")
    while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        command = command.commands[arguments.pop(0)]
    if isinstance(command, click.Group):
        assert set(arguments) <= {option for one in command.get_params(context) for option in one.opts}, arguments
        return
    context = command.make_context(command.name, arguments, parent=context)
    given = context.params
    if command is main.commands["train"]:
        make_request(given)
    if training := given.get("arguments"):
        with context:
            check_training(list(training))
        check_maskmill(["train", *training])
