"""The commands in the documentation: found, and checked against the command line as it is."""

import re
from dataclasses import fields
from pathlib import Path

import click

from deploy.cli import choose_datasets, main
from deploy.tpu_cli import check_training
from model.config import TrainConfig

ROOT = Path(__file__).parent.parent


def read_page(name: str) -> str:
    """A page of docs/."""
    return (ROOT / "docs" / name).read_text()


def commands_in(text: str) -> list[str]:
    """Every command in a console block, and every one with an option that a sentence or a table quotes."""
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
    quoted = re.findall(r"`((?:maskmill|gcloud) [^`]*\s--[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line.removeprefix("$ ") for line in lines] + [" ".join(one.split()) for one in quoted]


def check_maskmill(arguments: list[str]) -> None:
    """Fails where the command line would refuse the words that follow `maskmill`."""
    command: click.Command = main
    context = click.Context(main, info_name="maskmill")
    while isinstance(command, click.Group):
        command = command.commands[arguments.pop(0)]
    context = command.make_context(command.name, arguments, parent=context)
    given = context.params
    if command is main.commands["train"]:
        choose_datasets(given["dataset"], given["phases"], given["num_train_steps"])
        TrainConfig(**{field.name: given[field.name] for field in fields(TrainConfig) if field.name in given})
    if training := given.get("arguments"):
        with context:
            check_training(list(training))
        check_maskmill(["train", *training])
