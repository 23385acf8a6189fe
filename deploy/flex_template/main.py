"""What the launcher of a Flex Template runs: its flags become one `maskmill generate --runner dataflow`.

The launcher calls `python main.py --name=value ...` with the parameters of the template, and with Beam's options for
what it was told itself: --project, --region, --temp_location, --template_location and so on.
"""

import json
import sys
from collections.abc import Iterator, Sequence

import click

from maskmill.deploy.flex_template.parameters import FROM_LAUNCHER, LEFT_OUT, options_by_name

OUR_NAMES = {"labels": "label", "machine_type": "worker_machine_type"}  # for options that Beam names otherwise


def split_flags(flags: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Names and values of `--name=value`, `--name value` and `--name`, whose value is None."""
    place = 0
    while place < len(flags):
        name, equals, value = flags[place].partition("=")
        place += 1
        if not name.startswith("--"):
            raise ValueError(f"{name} is no flag; the launcher gives --name=value")
        if equals:
            yield name[2:], value
        elif place < len(flags) and not flags[place].startswith("--"):
            yield name[2:], flags[place]
            place += 1
        else:
            yield name[2:], None


def to_option(option: click.Option, value: str | None) -> list[str]:
    """A parameter's value as the arguments of its option; none where it is empty, as a form leaves it."""
    name = max(option.opts, key=len)
    if option.is_flag:
        is_set = value is None or value.lower() == "true"
        return [name] if is_set else []
    if not option.multiple:
        values = [value or ""]
    elif value and value.startswith("{"):  # labels, as Beam takes them, too
        values = [f"{key}={label}" for key, label in json.loads(value).items()]
    else:
        values = (value or "").split(",")
    return [f"{name}={one}" for one in values if one]


def to_arguments(flags: Sequence[str], command: click.Command) -> list[str]:
    """The launcher's flags as the arguments of `maskmill`: options, inputs, and the rest for Beam after `--`."""
    known = {
        name: option
        for name, option in options_by_name(command).items()
        if name not in LEFT_OUT or name in FROM_LAUNCHER
    }
    options: list[str] = []
    inputs: list[str] = []
    beam: list[str] = []
    for name, value in split_flags(flags):
        if name == "inputs":
            inputs += filter(None, (value or "").split(","))
        elif our_name := next((one for one in (name, OUR_NAMES.get(name)) if one in known), None):
            options += to_option(known[our_name], value)
        elif name != "runner":  # DataflowRunner, which --runner dataflow says
            beam.append(f"--{name}" if value is None else f"--{name}={value}")
    return ["generate", "--runner", "dataflow", "--no-wait", *options, *inputs, "--", *beam]


if __name__ == "__main__":
    from maskmill.deploy.cli import main
    from maskmill.deploy.data.generate import generate

    main(to_arguments(sys.argv[1:], generate), prog_name="maskmill")
