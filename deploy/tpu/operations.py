"""Runs the commands of `gcloud.py`: what went wrong in a sentence, what a TPU does, and a training kept going."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from maskmill.deploy.tpu.gcloud import (
    STATUS,
    STOP,
    Machine,
    Tpu,
    create_command,
    delete_command,
    describe_command,
    digest_of,
    install_commands,
    ssh_command,
    train_command,
)
from maskmill.tokenizer.errors import EndedError, InputError, NotThereError

Action = Literal["create", "wait", "delete", "install", "train", "stop", "done", "fail"]
Say = Callable[[str], None]

PATIENCE = 5  # looks in a row that may fail
LONGEST = 500  # characters of what gcloud said

NOT_THERE = r"NOT_FOUND|was not found"
# What gcloud says, and the way out. The first that fits is told, so what is narrow stands first.
REMEDIES = {
    r"gcloud auth login|an active account|[Rr]eauthentica|invalid_grant": "run: gcloud auth login",
    r"SERVICE_DISABLED|has not been used in project|is not enabled": (
        "run: gcloud services enable tpu.googleapis.com --project {project}"
    ),
    r"ALREADY_EXISTS|already exists": "go on with it ('{status}' shows it), delete it, or take another name",
    NOT_THERE: ("see which are there: gcloud compute tpus queued-resources list --project {project} --zone {zone}"),
    r"[Qq]uota": (
        "take fewer chips, delete requests that failed or are suspended, which count, too, or ask for more at "
        "https://console.cloud.google.com/iam-admin/quotas?project={project}"
    ),
    r"no more capacity|[Ii]nsufficient|RESOURCE_EXHAUSTED": "wait, or take another zone, fewer chips or --spot",
    r"on 'locations/|PERMISSION_DENIED": (
        "check --project {project}, --zone {zone} (gcloud compute tpus locations list --project {project}) and your "
        "roles, which docs/tpu.md names"
    ),
    r"INVALID_ARGUMENT|accelerator": (
        "see what the zone has: gcloud compute tpus accelerator-types list --project {project} --zone {zone}"
    ),
    r"\[255\]|status 255|SSH|timed out|Connection refused": (
        "see whether it is still there ('{status}'), and whether the firewall of its network lets port 22 in"
    ),
}


@dataclass(frozen=True)
class QueuedResource:
    """What has become of a queued resource: its state, and why it failed."""

    state: str
    error: str = ""


@dataclass(frozen=True)
class Host:
    """What a host does: bare, idle, running, interrupted, or ended and the exit code; which training; its last line."""

    name: str
    state: str
    training: str = ""  # digest of its arguments
    last_line: str = ""


def run(tpu: Tpu, command: Sequence[str], show: bool = False) -> str:
    """Runs a command and returns what it printed; with `show` the user sees that instead, as it comes.

    Raises InputError with what it said where it fails, and the way out.
    """
    if not shutil.which(command[0]):
        raise InputError(
            f"{command[0]} is not installed here",
            way_out=(
                "get it from https://cloud.google.com/sdk/docs/install, or print the commands with --dry-run "
                "and run them where it is"
            ),
        )
    output = None if show else subprocess.PIPE
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        if command[0] != "gcloud":
            raise InputError(f"maskmill cannot be packed here: {' '.join(done.stderr.split()[-60:])}")
        raise explain(done.stderr, tpu)
    return done.stdout or ""


def explain(stderr: str, tpu: Tpu) -> InputError:
    """What a failed gcloud wrote -> the error: what our script said on a host, or what gcloud said and the way out.

    >>> explain("ERROR: (gcloud.x) Please run: $ gcloud auth login", Tpu("bert", "project", "us-west4-a"))
    InputError('gcloud says: Please run: $ gcloud auth login; run: gcloud auth login')
    """
    if ours := dict.fromkeys(re.findall(r"maskmill: (.+)", stderr)):
        return InputError(f"{tpu.name}: {'; '.join(ours)}")
    said = what_was_said(stderr)
    values = {"project": tpu.project, "zone": tpu.zone, "status": tpu.tell("status")}
    remedies = (remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, said))
    remedy = next(remedies, "see the command with --dry-run, and try it by hand")
    kind = NotThereError if re.search(NOT_THERE, said) else InputError
    return kind(f"gcloud says: {said}", way_out=remedy.format(**values))


def what_was_said(stderr: str) -> str:
    """The error of gcloud in a line; where a command on a host failed, that command's last line before it."""
    before, *errors = re.split(r"ERROR: \([\w.-]*\) ", stderr)
    said = " ".join(" ".join(errors[-1:]).split())
    if message := re.search(r'"message": "((?:[^"\\]|\\.)*)"', said):
        said = str(json.loads(f'"{message[1]}"'))
    said = re.split(r" This command is authenticated as| - '@type'", said)[0]
    if not said or "exited with return code" in said:
        lines = [line.strip() for line in before.splitlines() if line.strip()]
        own = [line for line in lines if not re.match(r"SSH: |Using ssh|Propagating|\.+done|#+ Command", line)]
        failed = [line for line in lines if "failed with exit status" in line]
        said = " ".join([*own[-1:], *failed[:1], said])
    return said[:LONGEST].strip() or "nothing"


def find_request(tpu: Tpu) -> QueuedResource | None:
    """What has become of the request; None when there is none of that name. Raises InputError."""
    try:
        answer = json.loads(run(tpu, describe_command(tpu)))
    except NotThereError:
        return None
    state = answer.get("state", {})
    return QueuedResource(state.get("state", ""), state.get("failedData", {}).get("error", {}).get("message", ""))


def find_hosts(tpu: Tpu) -> list[Host]:
    """What each host of a node does. Raises InputError when one cannot be asked."""
    answers = re.findall(r"maskmill-host\t(.*)\t(.*)\t(.*)\t(.*)", run(tpu, ssh_command(tpu, STATUS)))
    return sorted((Host(*answer) for answer in answers), key=lambda host: host.name)


def wait_until_active(tpu: Tpu, say: Say, every: float) -> None:
    """Waits until the node is there, looking every so many seconds. Raises InputError when it will not come."""
    news = News(say)

    def step() -> Action:
        request = find_request(tpu)
        news.tell(f"{tpu.name} {describe(request)}")
        if request and request.state == "ACTIVE":
            return "done"
        if request is None or request.state in ("FAILED", "SUSPENDING", "SUSPENDED"):
            raise EndedError(tell_end(tpu, request))
        return "wait"

    repeat(step, say, every)


def keep_training(tpu: Tpu, machine: Machine, arguments: Sequence[str], say: Say, every: float) -> None:
    """Creates, installs and trains, and does all of it again after a preemption, until the training is done.

    It looks every so many seconds and does what is next, so it may be ended and begun again at any time. Of deleting it
    does one thing: the request of this name, once Google has suspended it and taken its node.
    Raises InputError when the request or the training failed, or gcloud does so many times in a row.
    """
    news = News(say)
    commands: dict[Action, list[list[str]]] = {
        "create": [create_command(tpu, machine)],
        "delete": [delete_command(tpu)],
        "install": install_commands(tpu),
        "train": [train_command(tpu, arguments)],
        "stop": [ssh_command(tpu, STOP)],
    }

    def step() -> Action:
        request = find_request(tpu)
        hosts = find_hosts(tpu) if request and request.state == "ACTIVE" else []
        hosts = [forget_others(tpu, host, digest_of(arguments)) for host in hosts]
        action = next_action(request, hosts)
        news.tell(f"{tpu.name} {describe(request, hosts)}{'' if action in ('wait', 'done', 'fail') else f': {action}'}")
        if action == "fail":
            raise EndedError(tell_end(tpu, request, hosts))
        for command in commands.get(action, ()):
            run(tpu, command)
        return action

    repeat(step, say, every)


def next_action(request: QueuedResource | None, hosts: Sequence[Host]) -> Action:
    """What brings a training forward, given the request and, where the node is there, its hosts."""
    if request is None:
        return "create"
    if request.state == "SUSPENDED":
        return "delete"
    if request.state == "FAILED":
        return "fail"
    states = {host.state for host in hosts}
    if request.state != "ACTIVE" or not hosts or states == {"running"}:
        return "wait"
    if any(is_failed(host) for host in hosts):
        return "fail"
    if "running" in states:  # those whose peers are at the end come there, too; those without peers never do
        return "wait" if states == {"running", "ended 0"} else "stop"
    if "bare" in states:
        return "install"
    return "done" if states == {"ended 0"} else "train"


def forget_others(tpu: Tpu, host: Host, training: str) -> Host:
    """A host on which another training ended is idle. Raises EndedError where another one runs."""
    if host.training in ("", training) or host.state == "bare":
        return host
    if host.state == "running":
        raise EndedError(
            f"{host.name} runs a training with other arguments; watch it with those, or end it with "
            f"'{tpu.tell('stop')}'"
        )
    return Host(host.name, "idle")


def is_failed(host: Host) -> bool:
    """Whether its training ended with an error."""
    return host.state.startswith("ended ") and host.state != "ended 0"


def repeat(step: Callable[[], Action], say: Say, every: float) -> None:
    """Does a step until it is done, and waits where it says so.

    After a first one that went well, a few may fail in a row: a node that is being taken away does not answer, and
    networks have holes. Raises InputError, the last step's.
    """
    failures = PATIENCE
    action: Action = "wait"
    while action != "done":
        try:
            action = step()
            failures = 0
        except EndedError:
            raise
        except InputError as error:
            if failures == PATIENCE:
                raise
            failures += 1
            say(f"{time.strftime('%H:%M')} {error}; looking again in {every:.0f} s")
            action = "wait"
        if action == "wait":
            time.sleep(every)


class News:
    """Says what is new, with the time of day."""

    def __init__(self, say: Say) -> None:
        self.say, self.last = say, ""

    def tell(self, text: str) -> None:
        """Says it unless it was said last."""
        if text != self.last:
            self.last = text
            self.say(f"{time.strftime('%H:%M')} {text}")


def describe(request: QueuedResource | None, hosts: Sequence[Host] = ()) -> str:
    """A request and its hosts in a few words.

    >>> describe(QueuedResource("ACTIVE"), [Host("a", "running"), Host("b", "bare"), Host("c", "running")])
    'ACTIVE, 1 host bare, 2 hosts running'
    """
    states = [host.state for host in hosts]
    words = [f"{states.count(one)} host{'s' * (states.count(one) > 1)} {one}" for one in sorted(set(states))]
    return ", ".join([request.state if request else "is not there", *words])


def tell_end(tpu: Tpu, request: QueuedResource | None, hosts: Sequence[Host] = ()) -> str:
    """One sentence for a request or a training that came to nothing."""
    if request is None:
        return f"the request {tpu.name} is not there any longer; somebody deleted it: create it again"
    if request.state == "FAILED":
        why = explain(f"ERROR: () {request.error or 'nothing about it'}", tpu)
        return f"the request {tpu.name} failed: {why}; clear it away with: {tpu.tell('delete')}"
    if request.state != "ACTIVE":
        return f"{tpu.name} is preempted ({request.state}); delete and create it again, as 'maskmill tpu watch' does"
    host = next(host for host in hosts if is_failed(host))
    return (
        f"the training on {host.name} {host.state} ({host.last_line or 'it wrote nothing'}); see '{tpu.tell('logs')}' "
        f"and train again, or end the costs with '{tpu.tell('delete')}'"
    )
