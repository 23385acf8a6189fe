"""The options that say where DAGs run: here, or on an engine elsewhere."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from maskmill.deploy.terminal.cli_types import Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import WHERE, option, under
from maskmill.deploy.terminal.messages import warn
from maskmill.pipeline.storage.storage import absolute, is_remote

if TYPE_CHECKING:
    from maskmill.deploy.engines.dataflow_options import DataflowOptions
    from maskmill.deploy.engines.remote import RemoteRunner

FLINK, PORTABLE, DATAFLOW = "flink", "portable", "dataflow"
RUNNERS = ("local", FLINK, DATAFLOW, PORTABLE)
DATAFLOW_NEEDS = ("--project", "--region", "--temp-location")


class Label(click.ParamType):  # type: ignore[type-arg]
    """A label such as team=nlp, as a pair."""

    name = "label"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, label = str(value).partition("=")
        if not equals:
            self.fail(f"{value} is no label; expected KEY=VALUE such as team=nlp.", param, ctx)
        return key, label


# Option, the runners that it is for, and its settings for click.
OPTIONS: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
    (
        "--flink-master",
        (FLINK,),
        {"metavar": "HOST:PORT", "help": "Address of a Flink cluster, for which Beam starts a job server."},
    ),
    ("--job-endpoint", (FLINK, PORTABLE), {"metavar": "HOST:PORT", "help": "Address of a running Beam job server."}),
    ("--project", (DATAFLOW,), {"metavar": "PROJECT", "help": "Google Cloud project."}),
    (
        "--region",
        (DATAFLOW,),
        {"metavar": "REGION", "help": "Region of the job, such as us-central1; best that of the buckets."},
    ),
    ("--temp-location", (DATAFLOW,), {"type": Place(), "metavar": "gs://...", "help": "Folder for temporary files."}),
    (
        "--staging-location",
        (DATAFLOW,),
        {
            "type": Place(),
            "metavar": "gs://...",
            "show_default": "that of --temp-location",
            "help": "Folder for the code that workers install.",
        },
    ),
    (
        "--job-name",
        (DATAFLOW,),
        {
            "metavar": "NAME",
            "show_default": "maskmill-, the time and a few letters",
            "help": "Name of the Dataflow job.",
        },
    ),
    (
        "--label",
        (DATAFLOW,),
        {"multiple": True, "type": Label(), "metavar": "KEY=VALUE", "help": "Label of the job; repeat for more."},
    ),
    (
        "--worker-machine-type",
        (DATAFLOW,),
        {"metavar": "TYPE", "help": "Machine type of the workers, such as n2-highmem-4."},
    ),
    ("--max-num-workers", (DATAFLOW,), {"type": Whole(1), "metavar": "N", "help": "Largest number of workers."}),
    ("--disk-size-gb", (DATAFLOW,), {"type": Whole(1, 65_536), "metavar": "GB", "help": "Disk size of each worker."}),
    ("--network", (DATAFLOW,), {"metavar": "NAME", "help": "VPC network of the workers."}),
    (
        "--subnetwork",
        (DATAFLOW,),
        {"metavar": "NAME", "help": "Subnetwork of the workers, such as regions/us-central1/subnetworks/NAME."},
    ),
    ("--no-public-ips", (DATAFLOW,), {"is_flag": True, "help": "Start workers without public IP addresses."}),
    ("--service-account-email", (DATAFLOW,), {"metavar": "EMAIL", "help": "Service account that the workers run as."}),
    (
        "--sdk-container-image",
        (DATAFLOW,),
        {"metavar": "IMAGE", "help": "Container image of the workers, with maskmill installed."},
    ),
]


@dataclass(frozen=True)
class Engine:
    """Where DAGs run, as the options say it."""

    runner: str
    given: Mapping[str, Any]  # options by name, those alone that are given

    def make_runner(
        self, inputs: Sequence[str], output: str, **local_options: object
    ) -> tuple["RemoteRunner | None", list[str]]:
        """The runner, None being this machine, and the inputs; Beam's options, which may stand among them, are not.

        Args:
            inputs: the arguments of the command.
            output: what the command writes.
            local_options: those that are for this machine alone; None where they are not given.

        Raises click.UsageError for options that do not go together.
        """
        files, beam_options = self.split(inputs)
        if not files:
            raise click.UsageError("INPUT is missing; expected a file, a folder or a pattern")
        if self.runner == "local":
            return None, files
        for name, value in local_options.items():
            if value is not None:
                raise click.UsageError(
                    f"--{name.replace('_', '-')} {value} is for this machine; with --runner {self.runner} the engine "
                    "decides"
                )
        absolute = [name if "://" in name else os.path.abspath(name) for name in files]
        if self.runner == DATAFLOW:
            return self._make_dataflow_runner(absolute, beam_options), absolute
        return self._make_portable_runner(output, beam_options), absolute

    def split(self, inputs: Sequence[str]) -> tuple[list[str], list[str]]:
        """The files among the arguments of a command, and Beam's own options.

        Raises click.UsageError for options that are not the runner's.
        """
        beam_options = [name for name in inputs if name.startswith("--")]
        for flag, runners, _ in OPTIONS:
            if _name(flag) in self.given and self.runner not in runners:
                raise click.UsageError(f"{flag} is given without --runner {' or '.join(runners)}")
        if beam_options and self.runner == "local":
            raise click.UsageError(f"{beam_options[0]} is given without --runner {', '.join(RUNNERS[1:])}")
        if beam_options:
            _check_beam_options(beam_options)
        return [name for name in inputs if not name.startswith("--")], beam_options

    def list_missing(self) -> list[str]:
        """The options that Dataflow needs and that are not given."""
        return [flag for flag in DATAFLOW_NEEDS if _name(flag) not in self.given]

    def make_dataflow_options(self, beam_options: Sequence[str]) -> "DataflowOptions":
        """The options of a job, where none that it needs is missing. Raises InputError for what cannot be right."""
        from maskmill.deploy.engines.dataflow_options import DataflowOptions

        values = {**self.given, "labels": dict(self.given.get("label", ()))}
        values.pop("label", None)
        return DataflowOptions(**values, beam_options=tuple(beam_options))

    def _make_dataflow_runner(self, inputs: Sequence[str], beam_options: Sequence[str]) -> "RemoteRunner":
        from maskmill.deploy.engines.dataflow import DataflowRunner

        for flag in self.list_missing():
            raise click.UsageError(f"--runner dataflow needs {flag}; docs/dataflow.md tells what to give")
        if here := [name for name in inputs if not is_remote(name)]:
            raise click.UsageError(
                f"INPUT {here[0]} is on this machine, where the workers of Dataflow do not see it; "
                f"copy it with: gcloud storage cp -r {here[0]} gs://BUCKET/"
            )
        with wrong_usage():
            return DataflowRunner(self.make_dataflow_options(beam_options))

    def _make_portable_runner(self, output: str, beam_options: Sequence[str]) -> "RemoteRunner":
        from maskmill.deploy.engines.portable import PortableRunner

        if "job_endpoint" in self.given and "flink_master" in self.given:
            raise click.UsageError("--job-endpoint and --flink-master are both given; a job server knows its master")
        if endpoint := self.given.get("job_endpoint"):
            where = ("--runner=PortableRunner", f"--job_endpoint={endpoint}")
        elif master := self.given.get("flink_master"):
            where = ("--runner=FlinkRunner", f"--flink_master={master}")
        else:
            flags = " or ".join(f"{flag} HOST:PORT" for flag, runners, _ in OPTIONS[:2] if self.runner in runners)
            raise click.UsageError(f"--runner {self.runner} needs {flags}")
        folder = os.path.dirname(absolute(output))
        return PortableRunner(self.runner, where, folder, beam_options)


def engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command, which gets them as the argument `engine`."""

    @wraps(command)
    def with_engine(runner: str, **values: Any) -> None:
        options = {name: values.pop(name) for name in (_name(flag) for flag, _, _ in OPTIONS)}
        command(engine=Engine(runner, {name: value for name, value in options.items() if value}), **values)

    def tell(runners: Sequence[str], text: str) -> str:
        return f"{'/'.join(runners)}: {text[0].lower()}{text[1:]}"

    return under(
        WHERE,
        option(
            "--runner",
            type=click.Choice(RUNNERS),
            default="local",
            help="Where the command runs: here, or on an engine whose workers see the same paths. Give Beam's own "
            "options after the INPUT and --.",
        ),
        *(option(flag, **{**details, "help": tell(runners, details["help"])}) for flag, runners, details in OPTIONS),
    )(with_engine)


def _check_beam_options(beam_options: Sequence[str]) -> None:
    """Warns of options that Beam does not have. Raises click.UsageError for one that looks misspelt."""
    from maskmill.pipeline.jobs.dag import find_unknown_options

    for name, similar in find_unknown_options(beam_options).items():
        if similar:
            raise click.UsageError(f"{name} is not an option of Beam; did you mean {similar}?")
        warn(f"{name} is not an option of Beam; it is passed on to the engine.")


def _name(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")
