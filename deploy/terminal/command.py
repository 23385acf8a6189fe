"""Commands whose --help tells what belongs together: options under headings, commands in sections, and examples."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from maskmill.deploy.terminal.cli_types import strict
from maskmill.deploy.terminal.messages import note

if TYPE_CHECKING:
    from click.types import OptionHelpExtra

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

READS, MAKES, LEARNS, RUNS = "What it reads", "What it makes", "How it learns", "How it runs"
WHERE, PRINTS = "Where it runs", "What it prints"
LAST = (RUNS, WHERE, PRINTS)  # headings that stand at the end, in this order
STOPPED = "Stopped; nothing was changed."
ENDED_BY = "maskmill.ended-by"  # key in the context's meta: the signal that came, if it is not that of Ctrl-C


class Stopped(click.ClickException):
    """Ctrl-C, or another signal: a sentence, and the exit code that shells have for it."""

    def __init__(self, sentence: str, number: int):
        super().__init__(sentence)
        self.exit_code = 128 + number  # type: ignore[misc]

    def show(self, file: Any = None) -> None:
        """Prints the sentence, below the ^C that a terminal shows."""
        click.echo(f"\n{self.message}", file=file, err=True)


def stopped(ctx: click.Context, sentence: str) -> Stopped:
    """What to raise where a command was stopped."""
    return Stopped(sentence, ctx.meta.get(ENDED_BY, signal.SIGINT))


@contextmanager
def signals_as_ctrl_c(ctx: click.Context) -> Iterator[None]:
    """Within it, SIGTERM, and SIGHUP of a terminal that is closed, let a command clean up as Ctrl-C does.

    A second one ends the process at once. One that is ignored, as under nohup, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]

    def stop(number: int, _frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        ctx.meta[ENDED_BY] = number
        raise KeyboardInterrupt

    for one in usual:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one in usual:
            signal.signal(one, signal.SIG_DFL)


class Option(click.Option):
    """An option under a heading. A default in words, `show_default`, is shown as it is."""

    def __init__(self, *args: Any, heading: str = PRINTS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heading = heading
        self.type = strict(self.type)

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """What is given. Raises BadParameter for an empty value, most often that of a variable that is not set."""
        value, source = super().consume_value(ctx, opts)
        if source is ParameterSource.COMMANDLINE and (value == "" or (self.multiple and "" in value)):
            raise click.BadParameter(f"it is empty; expected {self.make_metavar(ctx)}.", ctx, self)
        return value, source

    def get_help_extra(self, ctx: click.Context) -> "OptionHelpExtra":
        """What stands in brackets after the help."""
        extra = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default  # click would put it into parentheses
        return extra


def option(*names: str, **details: Any) -> Callable[..., Decorator]:
    """An option as `click.option` takes it, for `under`."""
    return partial(click.option, *names, cls=Option, **details)


def under(heading: str, *options: Callable[..., Decorator]) -> Decorator:
    """Adds options to a command, which --help shows under a heading in this order."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for make in reversed(options):
            command = make(heading=heading)(command)
        return command

    return decorate


def pick(kind: Any, given: Mapping[str, Any], *but: str) -> dict[str, Any]:
    """The values of options that a dataclass has fields for, by name, but for some."""
    return {name: given[name] for one in fields(kind) if (name := one.name) in given and name not in but}


def json_option(what: str) -> Decorator:
    """Adds --json, which the command gets as `as_json`: it prints `what` instead, and nothing else, on stdout."""
    return under(PRINTS, option("--json", "as_json", is_flag=True, callback=note, help=f"Print JSON alone: {what}."))


class WithHelp(click.Command):
    """What commands and groups have in common: headings over the options, examples below them."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, heading by heading."""
        records: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record:
                records.setdefault(getattr(parameter, "heading", PRINTS), []).append(record)
        for heading in sorted(records, key=lambda heading: LAST.index(heading) if heading in LAST else -1):
            with formatter.section(heading):
                formatter.write_dl(records[heading])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples as they are to be typed."""
        if self.examples:
            with formatter.section("Examples"):
                for line in "\n".join(self.examples).splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Command(WithHelp):
    """A command. All have --quiet.

    Args:
        args, kwargs: click's own.
        examples: command lines; long ones go on after a backslash.
        stopped: what to say after Ctrl-C or SIGTERM, unless the KeyboardInterrupt has a message.
    """

    def __init__(self, *args: Any, stopped: str = STOPPED, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stopped = stopped

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters, --quiet, and click's --help."""
        *own, help_option = super().get_params(ctx)
        return [*own, QUIET, help_option]

    def invoke(self, ctx: click.Context) -> Any:
        """Runs it. Raises Stopped for Ctrl-C, SIGTERM and SIGHUP."""
        from maskmill.deploy.terminal.temporary import own_temporary_folder

        try:
            with own_temporary_folder():
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise stopped(ctx, str(stop) or self.stopped) from None


QUIET = Option(
    ["--quiet"], is_flag=True, expose_value=False, callback=note, help="Nothing but the result, warnings and errors."
)


class Group(WithHelp, click.Group):
    """Commands in sections, in the order in which one uses them."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections: dict[str, Sequence[click.Command]] = {}

    def add_section(self, heading: str, *commands: click.Command) -> None:
        """Adds commands that --help lists under a heading."""
        self.sections[heading] = commands
        for command in commands:
            self.add_command(command)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands, section by section, then the options."""
        longest = max(map(len, self.commands))
        for heading, commands in self.sections.items():
            with formatter.section(heading):
                rows = [(f"{command.name:{longest}}", command.get_short_help_str(200)) for command in commands]
                formatter.write_dl(rows)
        super().format_options(ctx, formatter)
