"""What a Cloud TPU is told: the commands of gcloud, and the scripts on the hosts. `operations.py` runs them.

A TPU is a queued resource and the node that it becomes, both of one name: the queue is what Google recommends, and
where spot capacity is waited for. A node is one host or several; every host is told the same, and JAX finds its peers
by itself. A host keeps in ~/maskmill: `python/`, the environment, and `installed`, its mark; `lock`, held by what works
there; `train.log`; `training`, a digest of its arguments; `pid` from its start to its end, and from then on `ended`,
with its exit code.
"""

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskmill.tokenizer.errors import InputError

# The software of the hosts on which JAX is installed: https://cloud.google.com/tpu/docs/runtimes
RUNTIMES = {
    "v6e": "v2-alpha-tpuv6e",
    "v5p": "v2-alpha-tpuv5",
    "v5litepod": "v2-alpha-tpuv5-lite",
    **dict.fromkeys(("v4", "v3", "v2"), "tpu-ubuntu2204-base"),
}
PACKAGE = "maskmill.tar.gz"
# What `maskmill train` is given on a TPU beside the user's own. A single host finds that there is no other one.
SAME_ON_EVERY_HOST = ("--backend", "jax", "--distributed")
SECONDS_TO_STOP = 120  # for the step at hand and its checkpoint


@dataclass(frozen=True)
class Tpu:
    """Which one. Raises InputError for what Google would not take as a name or a zone."""

    name: str
    project: str
    zone: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", self.name):
            raise InputError(f"NAME {self.name} is no name of a TPU", expected="a-z, 0-9 and -, a letter first")
        if not re.fullmatch(r"[a-z]+-[a-z]+\d+-[a-z0-9]+", self.zone):
            raise InputError(f"--zone {self.zone} is no zone", expected="one such as us-west4-a, with its last letter")

    @property
    def flags(self) -> list[str]:
        """Said with every command. Quiet: gcloud asks nothing."""
        return [f"--project={self.project}", f"--zone={self.zone}", "--quiet"]

    def tell(self, command: str) -> str:
        """A command of ours for it, to be copied."""
        return f"maskmill tpu {command} {self.name} --project {self.project} --zone {self.zone}"


@dataclass(frozen=True)
class Machine:
    """What is asked for. Raises InputError where no runtime version is given and none is known."""

    accelerator_type: str
    runtime_version: str = ""  # none: by the accelerator
    spot: bool = False
    service_account: str = ""  # none: the project's default one
    network: str = ""
    subnetwork: str = ""

    def __post_init__(self) -> None:
        if not self.runtime_version and self.family not in RUNTIMES:
            raise InputError(
                f"--accelerator-type {self.accelerator_type} is not a known accelerator type",
                way_out=f"use for example v5litepod-8 ({', '.join(RUNTIMES)}), or give its --runtime-version as well",
            )

    @property
    def family(self) -> str:
        """What stands before the size."""
        return self.accelerator_type.partition("-")[0]

    @property
    def flags(self) -> list[str]:
        """What `create` is told of it."""
        named = {"service-account": self.service_account, "network": self.network, "subnetwork": self.subnetwork}
        return [
            f"--accelerator-type={self.accelerator_type}",
            f"--runtime-version={self.runtime_version or RUNTIMES[self.family]}",
            *(f"--{flag}={value}" for flag, value in named.items() if value),
            *(["--spot"] if self.spot else []),
        ]


def create_command(tpu: Tpu, machine: Machine) -> list[str]:
    """Puts a request into the queue."""
    node = f"--node-id={tpu.name}"
    return ["gcloud", "compute", "tpus", "queued-resources", "create", tpu.name, node, *machine.flags, *tpu.flags]


def describe_command(tpu: Tpu) -> list[str]:
    """Tells what has become of the request."""
    return ["gcloud", "compute", "tpus", "queued-resources", "describe", tpu.name, "--format=json", *tpu.flags]


def delete_command(tpu: Tpu) -> list[str]:
    """Deletes the node, then the request."""
    return ["gcloud", "compute", "tpus", "queued-resources", "delete", tpu.name, "--force", *tpu.flags]


def ssh_command(tpu: Tpu, script: str, worker: str = "all") -> list[str]:
    """Runs a script of the shell on hosts of the node, on all at the same time."""
    start = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", tpu.name, f"--worker={worker}", *tpu.flags]
    return [*start, f"--command={script}"]


def install_commands(tpu: Tpu) -> list[list[str]]:
    """Packs maskmill as it is here, copies it to every host, and installs it there with JAX for TPU."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "maskmill")
    pack = [sys.executable, "-P", "-m", "maskmill.deploy.engines.source_package", str(folder)]
    copy = ["gcloud", "compute", "tpus", "tpu-vm", "scp", str(folder / PACKAGE), f"{tpu.name}:", "--worker=all"]
    return [pack, [*copy, *tpu.flags], ssh_command(tpu, INSTALL)]


def train_command(tpu: Tpu, arguments: Sequence[str]) -> list[str]:
    """Starts `maskmill train` with these arguments on every host, and leaves it running there."""
    words = shlex.join([*arguments, *SAME_ON_EVERY_HOST])
    return ssh_command(tpu, TRAIN.replace("DIGEST", digest_of(arguments)).replace("ARGUMENTS", words))


def digest_of(arguments: Sequence[str]) -> str:
    """By which two trainings are told apart."""
    return hashlib.sha256(shlex.join(arguments).encode()).hexdigest()[:12]


def logs_command(tpu: Tpu, lines: int, follow: bool, worker: str) -> list[str]:
    """Shows the end of a host's log."""
    return ssh_command(tpu, f"tail -n {lines} {'-F ' if follow else ''}maskmill/train.log", worker)


def to_shell(command: Sequence[str]) -> str:
    r"""A command as a shell takes it, an option a line.

    >>> print(to_shell(["gcloud", "ssh", "--zone=z", "--command=ls 'a b'"]))
    gcloud ssh \
      --zone=z \
      '--command=ls '"'"'a b'"'"''
    """
    first = next((place for place, word in enumerate(command) if word.startswith("--")), len(command))
    return " \\\n  ".join([shlex.join(command[:first]), *map(shlex.quote, command[first:])])


# What a host says after "maskmill: " is shown to the user as it is.
TAKE_LOCK = """exec 9>lock
flock --nonblock 9 || {
  echo 'maskmill: something runs there already; see status, or end it with stop' >&2
  exit 75
}
"""

# uv brings the Python that we need, whatever the host has; Ubuntu 22.04 has 3.10. The end asks for all chips, as a
# training does.
INSTALL = f"""set -e
mkdir -p maskmill
cd maskmill
{TAKE_LOCK}rm -f installed pid ended
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --user --quiet --upgrade uv
python3 -m uv venv --quiet --clear --python 3.11 python
python3 -m uv pip install --quiet --python python/bin/python "maskmill[tpu] @ file://$HOME/{PACKAGE}"
python/bin/python -c 'import jax
jax.distributed.initialize()
print(jax.process_count(), "hosts,", jax.device_count(), "chips,", jax.devices()[0].device_kind)
jax.default_backend() == "tpu" or exit("maskmill: JAX finds no TPU there")'
touch installed
"""

# The training inherits the lock, and has a session of its own: a lost connection does not end it. When the machine
# shuts down, the shell that waits for it dies at once, and itself after a checkpoint: `pid` stays, `ended` is not made.
TRAIN = f"""cd maskmill 2>/dev/null && test -e installed || {{
  echo 'maskmill: not installed there; run install first' >&2
  exit 76
}}
{TAKE_LOCK}rm -f ended
echo DIGEST > training
setsid bash -c '"$@" & echo $! > pid; wait $!; code=$?; rm pid; echo $code > ended' - \\
  python/bin/maskmill train ARGUMENTS >> train.log 2>&1 < /dev/null &
"""

STATUS = r"""cd maskmill 2>/dev/null && test -e installed || {
  printf 'maskmill-host\t%s\tbare\t\t\n' "$(hostname)"
  exit 0
}
if ! flock --nonblock lock true; then state=running
elif test -e pid; then state=interrupted
elif test -e ended; then state="ended $(cat ended)"
else state=idle; fi
last="$(tail -n 1 train.log 2>/dev/null | tr '\t' ' ')"
printf 'maskmill-host\t%s\t%s\t%s\t%s\n' "$(hostname)" "$state" "$(cat training 2>/dev/null)" "$last"
"""

# What is stopped has not come to its end: it is left as an interrupted one is.
STOP = f"""cd maskmill 2>/dev/null && test -e pid || exit 0
flock --nonblock lock true && exit 0
kill -TERM "$(cat pid)"
flock --timeout {SECONDS_TO_STOP} lock mv ended pid && exit 0
kill -KILL "$(cat pid)"
flock lock mv ended pid
echo "$(hostname) did not stop in {SECONDS_TO_STOP} s and was killed; its last checkpoint holds"
"""
