"""What a command says beside its result: progress and what was made on stdout, warnings on stderr.

With --quiet only warnings are left. With --json stdout is the result's alone, and all else goes to stderr. Which of
them is given, click's context tells: so it need not be handed down to whatever may have something to say.
"""

import json
from typing import Any

import click

from maskmill.deploy.terminal.printable import visible, visible_in_json

GIVEN = "maskmill.{}"  # key in the context's meta: one of ours for each of the options


def note(ctx: click.Context, option: click.Parameter, value: bool) -> bool:
    """The callback of --quiet and --json."""
    ctx.meta[GIVEN.format(option.opts[0])] = value
    return value


def is_given(option: str) -> bool:
    """Whether the command that runs was given --quiet or --json; False where none runs, as in a script."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(GIVEN.format(option)))


def say(text: str) -> None:
    """Says what is being done, or was made."""
    if not is_given("--quiet"):
        click.echo(visible(text), err=is_given("--json"))


def warn(text: str) -> None:
    """Says what may be wrong, on stderr whatever is given."""
    click.secho(visible(text), fg="yellow", err=True)


def print_json(values: Any) -> None:
    """Prints a result as JSON."""
    click.echo(to_json(values, indent=1))


def to_json(values: Any, indent: int | None = None) -> str:
    """JSON for a terminal or a file: text is readable in all scripts, what would act on a terminal is escaped."""
    return visible_in_json(json.dumps(values, indent=indent, ensure_ascii=False))
