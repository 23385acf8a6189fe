"""`maskmill demo`: its options."""

from pathlib import Path

import click

from maskmill.deploy.terminal.command import MAKES, Command, option, under


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
    from maskmill.deploy.demo.steps import run_demo

    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)
    run_demo(output, root)
