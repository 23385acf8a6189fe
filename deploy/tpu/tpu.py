"""`maskmill tpu`: the commands that train on a Cloud TPU."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from maskmill.deploy.terminal.cli_types import Whole, wrong_usage
from maskmill.deploy.terminal.command import PRINTS, RUNS, Group, json_option, option, under
from maskmill.deploy.terminal.messages import is_given, print_json, say
from maskmill.deploy.terminal.printable import visible
from maskmill.model.bert.config import PRESETS
from maskmill.pipeline.storage.storage import is_remote
from maskmill.tokenizer.errors import InputError

if TYPE_CHECKING:
    from maskmill.deploy.tpu.gcloud import Machine, Tpu

SECONDS_BETWEEN_LOOKS = 30.0
TRAINING = "\\\n    -- gs://BUCKET/shards --model-dir gs://BUCKET/model"  # of the examples


@dataclass(frozen=True)
class Here:
    """The TPU of a command, and whether its commands are only printed."""

    tpu: "Tpu"
    dry_run: bool

    def run(self, commands: Sequence[Sequence[str]], show: bool = False) -> bool:
        """Whether the commands were run: with --dry-run they are printed."""
        from maskmill.deploy.tpu.gcloud import to_shell
        from maskmill.deploy.tpu.operations import run

        for command in commands:
            if self.dry_run:
                click.echo(to_shell(command))
            else:
                run(self.tpu, command, show)
        return not self.dry_run

    def say(self, text: str) -> None:
        """Says what is being done, where it is done."""
        if not self.dry_run:
            say(text)

    @contextmanager
    def ctrl_c(self, sentence: str) -> Iterator[None]:
        """Within it, Ctrl-C ends the waiting, and what is said of it is what goes on without us."""
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(sentence) from None


@click.group(
    "tpu",
    cls=Group,
    examples=(
        "maskmill tpu create  bert --project PROJECT --zone us-west4-a --accelerator-type v5litepod-8",
        "maskmill tpu install bert --project PROJECT --zone us-west4-a",
        f"maskmill tpu train   bert --project PROJECT --zone us-west4-a {TRAINING}",
        "maskmill tpu delete  bert --project PROJECT --zone us-west4-a",
    ),
)
def tpu_commands() -> None:
    """Train on a Cloud TPU, with gcloud run for you.

    With --dry-run its commands are printed. watch does what create, install and train do, and again after a preemption,
    until the training is done. docs/tpu.md tells all of it.
    """


def on_tpu(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what says which TPU; the command gets it as `here`."""

    @wraps(command)
    def with_tpu(name: str, project: str, zone: str, dry_run: bool, **values: Any) -> None:
        from maskmill.deploy.tpu.gcloud import Tpu

        with wrong_usage():
            here = Here(Tpu(name, project, zone), dry_run)
        command(here=here, **values)

    with_options: Callable[..., None] = under(
        "Which TPU",
        option(
            "--project",
            required=True,
            metavar="PROJECT",
            envvar="CLOUDSDK_CORE_PROJECT",
            show_envvar=True,
            help="Google Cloud project.",
        ),
        option(
            "--zone",
            required=True,
            metavar="ZONE",
            envvar="CLOUDSDK_COMPUTE_ZONE",
            show_envvar=True,
            help="Zone of the TPU, such as us-west4-a.",
        ),
    )(under(RUNS, option("--dry-run", is_flag=True, help="Print the commands without running them."))(with_tpu))
    return click.argument("name", metavar="NAME")(with_options)


def of_machine(command: Callable[..., None]) -> Callable[..., None]:
    """Adds what says what to create; the command gets it as `machine`."""

    @wraps(command)
    def with_machine(**values: Any) -> None:
        from maskmill.deploy.tpu.gcloud import Machine

        names = ("accelerator_type", "runtime_version", "spot", "service_account", "network", "subnetwork")
        with wrong_usage():
            machine = Machine(**{name: values.pop(name) for name in names})
        command(machine=machine, **values)

    return under(
        "What to create",
        option(
            "--accelerator-type",
            required=True,
            metavar="TYPE",
            help="Family and size of the TPU, such as v5litepod-8 or v6e-8.",
        ),
        option(
            "--runtime-version",
            default="",
            metavar="NAME",
            show_default="by the accelerator",
            help="TPU software version of the hosts.",
        ),
        option("--spot", is_flag=True, help="Create a spot TPU: cheaper, but Google may take it away at any time."),
        option(
            "--service-account",
            default="",
            metavar="EMAIL",
            show_default="Compute Engine's of the project",
            help="Service account that the hosts run as.",
        ),
        option("--network", default="", metavar="NAME", show_default="default", help="VPC network of the hosts."),
        option("--subnetwork", default="", metavar="NAME", show_default=False, help="Subnetwork of the hosts."),
    )(with_machine)


def of_training(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the arguments of `maskmill train`, which follow after --; the command gets them as `arguments`."""

    @wraps(command)
    def with_arguments(arguments: tuple[str, ...], **values: Any) -> None:
        check_training(arguments)
        command(arguments=arguments, **values)

    return click.argument("arguments", nargs=-1, required=True, metavar="-- ARGUMENTS OF TRAIN")(with_arguments)


EVERY = option(
    "--every",
    default=SECONDS_BETWEEN_LOOKS,
    type=click.FloatRange(0, 86_400),
    metavar="SECONDS",
    help="Seconds between two checks of the state.",
)


def check_training(arguments: Sequence[str]) -> None:
    """Raises click.UsageError for what `maskmill train` would refuse, and for what no host of a TPU sees."""
    from maskmill.deploy.training.train import make_request

    root = click.get_current_context().find_root().command
    assert isinstance(root, click.Group)
    context = root.commands["train"].make_context("maskmill train", list(arguments))
    given = context.get_parameter_source("backend") is click.core.ParameterSource.COMMANDLINE
    if given and context.params["backend"] != "jax":
        raise click.UsageError(f"--backend {context.params['backend']} runs on no TPU; leave it out, there it is jax")
    datasets = make_request(context.params).datasets
    for word in arguments:
        value = word.partition("=")[2] if word.startswith("--") else word
        if ("/" in value or "." in value) and os.path.isfile(value):
            raise click.UsageError(
                f"{value} is a file of this machine, where no TPU sees it; "
                f"run: gcloud storage cp {shlex.quote(value)} gs://BUCKET/, and name that"
            )
    places = [
        *(directory for directory, *_ in datasets),
        *(context.params[name] for name in ("model_dir", "init_checkpoint")),
    ]
    if context.params["bert_config"] not in PRESETS:
        places.append(context.params["bert_config"])
    for place in filter(None, places):
        if not is_remote(place):
            raise click.UsageError(f"{place} is on this machine, where no TPU sees it; expected gs://BUCKET/...")


@tpu_commands.command(
    examples=("maskmill tpu create bert --project PROJECT --zone us-west4-a --accelerator-type v6e-8 --spot",)
)
@on_tpu
@of_machine
@under(RUNS, option("--no-wait", is_flag=True, help="Return as soon as the request is queued."), EVERY)
def create(here: Here, machine: "Machine", no_wait: bool, every: float) -> None:
    """Request a TPU, and wait until it is ready.

    You are billed from then on, until the TPU is deleted.
    """
    from maskmill.deploy.tpu.gcloud import create_command
    from maskmill.deploy.tpu.operations import wait_until_active

    delete_it = here.tpu.tell("delete")
    here.say(f"Asking for {machine.accelerator_type} in {here.tpu.zone}")
    if here.run([create_command(here.tpu, machine)]) and not no_wait:
        with here.ctrl_c(
            f"The request stays in the queue, and you are billed once the TPU is ready; to cancel it: {delete_it}"
        ):
            wait_until_active(here.tpu, say, every)
        say(f"The TPU is ready. You are billed until you run: {delete_it}")


@tpu_commands.command(examples=("maskmill tpu install bert --project PROJECT --zone us-west4-a",))
@on_tpu
def install(here: Here) -> None:
    """Install maskmill, as it is here, on every host.

    With JAX for TPU; at the end it is seen that JAX finds all chips.
    """
    from maskmill.deploy.tpu.gcloud import install_commands

    here.say(f"Installing on every host of {here.tpu.name}, which takes minutes")
    with here.ctrl_c("The hosts may go on with it for a while; then the same command does it again."):
        if here.run(install_commands(here.tpu), show=not is_given("--quiet")):
            say(f"Installed; now: {here.tpu.tell('train')} -- gs://BUCKET/shards --model-dir gs://BUCKET/model")


@tpu_commands.command(examples=(f"maskmill tpu train bert --project PROJECT --zone us-west4-a {TRAINING}",))
@on_tpu
@of_training
def train(here: Here, arguments: tuple[str, ...]) -> None:
    """Start a training on every host, and return.

    The same again goes on from the last checkpoint. After -- follow the arguments of maskmill train; --backend jax
    --distributed is added.
    """
    from maskmill.deploy.tpu.gcloud import train_command

    if here.run([train_command(here.tpu, arguments)]):
        say(f"Started on every host of {here.tpu.name}; see it with: {here.tpu.tell('logs')} --follow")


@tpu_commands.command(
    examples=(f"maskmill tpu watch bert --project PROJECT --zone us-west4-a --accelerator-type v6e-8 {TRAINING}",)
)
@on_tpu
@of_machine
@under(RUNS, option("--delete-when-done", is_flag=True, help="Delete the TPU when the training is finished."), EVERY)
@of_training
def watch(here: Here, machine: "Machine", delete_when_done: bool, every: float, arguments: tuple[str, ...]) -> None:
    """Keep a training going until it is done.

    It creates, installs and trains, and does so again after each preemption. It looks what is there and does what is
    next, so it may be ended and run again at any time. It deletes nothing but the request of this name when Google has
    taken its TPU; at the end the TPU is left there.
    """
    from maskmill.deploy.terminal.tables import new_talk
    from maskmill.deploy.tpu.gcloud import create_command, delete_command, install_commands, train_command
    from maskmill.deploy.tpu.operations import keep_training

    if here.dry_run:
        new = [create_command(here.tpu, machine), *install_commands(here.tpu), train_command(here.tpu, arguments)]
        here.run(new)
        click.echo("# after a preemption, and then all of the above again:")
        here.run([delete_command(here.tpu)])
        return
    say = new_talk().print  # it deletes what costs, also when nobody reads what it says
    with here.ctrl_c(
        f"The TPU keeps running and is billed; run the same command to watch it again, or: {here.tpu.tell('delete')}"
    ):
        keep_training(here.tpu, machine, arguments, say, every)
    if delete_when_done:
        here.run([delete_command(here.tpu)])
        say(f"The training is done, and {here.tpu.name} is deleted.")
    else:
        say(f"The training is done. You are billed for the TPU until you run: {here.tpu.tell('delete')}")


@tpu_commands.command(examples=("maskmill tpu status bert --project PROJECT --zone us-west4-a",))
@on_tpu
@json_option("the state of the request, and a list of hosts")
def status(here: Here, as_json: bool) -> None:
    """Show the state of the request, and what each host does."""
    from maskmill.deploy.tpu.gcloud import STATUS, describe_command, ssh_command
    from maskmill.deploy.tpu.operations import find_hosts, find_request

    if here.dry_run and as_json:
        raise click.UsageError("--json is given beside --dry-run, which prints commands of a shell")
    if here.dry_run:
        here.run([describe_command(here.tpu), ssh_command(here.tpu, STATUS)])
        return
    request = find_request(here.tpu)
    hosts = find_hosts(here.tpu) if request and request.state == "ACTIVE" else []
    if as_json:
        known = asdict(request) if request else {"state": None, "error": ""}
        print_json({"name": here.tpu.name, **known, "hosts": [asdict(host) for host in hosts]})
        return
    if request is None:
        click.echo(f"{here.tpu.name} is not there")
        return
    click.echo(visible(f"{here.tpu.name} {request.state} {request.error}".rstrip()))
    for host in hosts:
        click.echo(visible(f"{host.name} {host.state} {host.last_line}".rstrip()))


@tpu_commands.command(examples=("maskmill tpu logs bert --project PROJECT --zone us-west4-a --follow",))
@on_tpu
@under(
    PRINTS,
    option("--worker", default="0", metavar="N|all", help="Number of the host, starting at 0; or all."),
    option("--lines", default=30, type=Whole(1), metavar="N", help="Number of last lines to show."),
    option("--follow", is_flag=True, help="Also show new lines, until Ctrl-C."),
)
def logs(here: Here, lines: int, follow: bool, worker: str) -> None:
    """Show what the training wrote on a host."""
    from maskmill.deploy.tpu.gcloud import logs_command

    with here.ctrl_c("The training goes on."):
        here.run([logs_command(here.tpu, lines, follow, worker)], show=True)


@tpu_commands.command(examples=("maskmill tpu stop bert --project PROJECT --zone us-west4-a",))
@on_tpu
def stop(here: Here) -> None:
    """Stop the training after it has saved a checkpoint.

    The TPU stays, and you are still billed for it.
    """
    from maskmill.deploy.tpu.gcloud import STOP, ssh_command

    here.say(f"Stopping what runs on {here.tpu.name}")
    if here.run([ssh_command(here.tpu, STOP)], show=not is_given("--quiet")):
        say(f"The training has stopped. You are billed for the TPU until you run: {here.tpu.tell('delete')}")


@tpu_commands.command(
    examples=(
        "maskmill tpu delete bert --project PROJECT --zone us-west4-a",
        "maskmill tpu delete bert --project PROJECT --zone us-west4-a --yes",
    )
)
@on_tpu
@under(RUNS, option("--yes", is_flag=True, help="Delete without asking."))
def delete(here: Here, yes: bool) -> None:
    """Delete the TPU of this name, and its request.

    What is on its disks is lost; buckets are not touched.
    """
    from maskmill.deploy.tpu.gcloud import delete_command

    if not (yes or here.dry_run):
        where = f"of project {here.tpu.project} in {here.tpu.zone}"
        if not click.confirm(f"Delete the TPU {here.tpu.name} {where}, and end what runs there?", err=True):
            raise InputError(f"{here.tpu.name} is not deleted", way_out="you are still billed for it")
    here.say(f"Deleting {here.tpu.name}")
    if here.run([delete_command(here.tpu)]):
        say(f"{here.tpu.name} is deleted. You are no longer billed for it.")


tpu_commands.add_section("In the order of use", create, install, train, watch, status, logs, stop, delete)
