"""All commands, and their options."""

import click

from maskmill.deploy.cli import main


def walk(command=main, path=()):
    """Every command with the words that call it, groups too."""
    yield " ".join(path), command
    for name, one in getattr(command, "commands", {}).items():
        yield from walk(one, (*path, name))


EVERYTHING = dict(walk())


COMMANDS = {path: command for path, command in EVERYTHING.items() if not isinstance(command, click.Group)}


def options_of(command):
    """All options of a command, click's --help, too."""
    return [one for one in command.get_params(click.Context(command)) if isinstance(one, click.Option)]
