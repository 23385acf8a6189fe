"""`maskmill doctor`: everything that a run needs, looked at before it costs anything."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from maskmill.deploy.doctor.findings import Finding, attempt
from maskmill.deploy.doctor.installation import check_installation
from maskmill.deploy.doctor.request import Request
from maskmill.deploy.engines.engine_options import FLINK, PORTABLE
from maskmill.deploy.terminal.messages import print_json
from maskmill.deploy.terminal.numbers import count
from maskmill.deploy.terminal.printable import visible

STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}


def examine(request: Request) -> Iterator[Finding]:
    """All findings. A failed check does not stop the later ones."""
    yield from check_installation()
    if request.engine.runner in (FLINK, PORTABLE):
        from maskmill.deploy.doctor.engine import check_engine

        yield from attempt("engine", check_engine(request))
    from maskmill.deploy.doctor.google import check_google

    buckets = yield from attempt("google", check_google(request))
    if request.inputs or request.vocab_file or request.output:
        from maskmill.deploy.doctor.data import check_data

        yield from attempt("data", check_data(request, buckets or set()))


def show(findings: Sequence[Finding], as_json: bool) -> None:
    """Prints findings as a table and a line that counts them, or as a JSON list."""
    if as_json:
        print_json([asdict(finding) for finding in findings])
        return
    try:
        _show_table(findings)
    except ModuleNotFoundError:  # which is among the findings
        for finding in findings:
            click.echo(visible(": ".join(filter(None, asdict(finding).values()))))
    states = Counter(finding.state for finding in findings)
    click.echo(f"{states['ok']} ok, {count(states['warning'], 'warning')}, {states['wrong']} wrong")


def _show_table(findings: Sequence[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from maskmill.deploy.terminal.tables import new_console

    table = Table("check", "state", "found", "remedy")
    for column in table.columns:
        column.overflow = "fold"  # a path or a command is not cut off
    table.columns[1].no_wrap = True
    for finding in findings:
        table.add_row(finding.check, Text(finding.state, STYLES[finding.state]), finding.found, finding.remedy)
    new_console().print(table)
