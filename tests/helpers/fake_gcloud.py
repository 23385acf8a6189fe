"""A gcloud that plays Cloud TPU on this machine: its hosts are folders, and what it is to run there is run by a shell.

`Cloud` makes it: an executable `gcloud` on PATH, which is this file. It answers the commands of `gcloud.py` as
Google's does, writes each to `calls.jsonl`, and fails as it is told to. Hosts have a `python3` and a `maskmill` that
are this file, too: the first makes the folders that an installation makes, the second "trains" until it is ended.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

MOST_CALLS = 100  # of a test
STATES = ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]


class Cloud:
    """The folder of such a cloud, as a test sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("bin", "hosts", "requests", "host_bin", "bucket"):
            (folder / name).mkdir(parents=True)
        for path, role in (("bin/gcloud", "gcloud"), ("host_bin/python3", "python3"), ("trainer", "maskmill")):
            (folder / path).write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" {role} "$@"\n')
            (folder / path).chmod(0o755)
        (folder / "host_bin" / "hostname").write_text('#!/bin/sh\nbasename "$HOME"\n')
        (folder / "host_bin" / "hostname").chmod(0o755)

    def fail(self, command: str, stderr: str, times: int = 1) -> None:
        """The next commands with these words write that, and exit with 1."""
        failures = self.read("failures.json", [])
        (self.folder / "failures.json").write_text(json.dumps([*failures, *[[command, stderr]] * times]))

    def happen(self, *events: str) -> None:
        """What happens at each look at a request while a training runs: preempt, reboot, wait, finish or break."""
        (self.folder / "events.json").write_text(json.dumps(events))

    def add_request(self, name: str, *states: str, error: str = "", hosts: int = 1) -> None:
        """A request that somebody made before."""
        (self.folder / "requests" / name).write_text(json.dumps([list(states), hosts, error]))
        if states[-1] == "ACTIVE":
            self.make_hosts(name, hosts)

    def make_hosts(self, name: str, count: int) -> None:
        for number in range(count):
            (self.folder / "hosts" / f"{name}-w{number}").mkdir(exist_ok=True)

    def hosts(self, name: str) -> list[Path]:
        return sorted(self.folder.glob(f"hosts/{name}-w*"))

    def calls(self, words: str = "") -> list[list[str]]:
        """The arguments of the commands so far that begin with these words, and gcloud's describe aside."""
        calls = [json.loads(line) for line in self.lines("calls.jsonl")]
        return [call for call in calls if " ".join(call).startswith(words) and "describe" not in call]

    def trainings(self) -> list[dict]:
        """Which trainings were started: host, arguments, and the step of the checkpoint that each went on from."""
        return [json.loads(line) for line in self.lines("trainings.jsonl")]

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def read(self, name: str, default):
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else default

    def forget(self) -> None:
        """Everything that was made and asked."""
        self.end_trainers(signal.SIGKILL)
        (self.folder / "calls.jsonl").unlink()
        for path in self.folder.glob("requests/*"):
            path.unlink()
        for host in self.folder.glob("hosts/*"):
            shutil.rmtree(host)

    def end_trainers(self, how: int, name: str = "") -> None:
        """A signal to every process of a training, as a machine that shuts down sends it, and their end."""
        for path in self.folder.glob(f"hosts/{name}*/maskmill/pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                group = os.getpgid(int(path.read_text()))
                assert group != os.getpgrp(), "a training is not on its own"
                os.killpg(group, how)
            wait_for(lambda path=path: not is_locked(path.parent))


def wait_for(what) -> None:
    deadline = time.monotonic() + 300
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_locked(folder: Path) -> bool:
    return subprocess.run(["flock", "--nonblock", str(folder / "lock"), "true"]).returncode == 1


def is_training(host: Path) -> bool:
    """Whether its training runs, and is ready for a signal."""
    pid, ready = host / "maskmill" / "pid", host / "ready"
    return pid.exists() and ready.exists() and pid.read_text() == ready.read_text() and is_locked(host / "maskmill")


def gcloud(cloud: Cloud, arguments: list[str]) -> None:
    """Does a command of gcloud, or exits as it does."""
    with open(cloud.folder / "calls.jsonl", "a") as file:
        print(json.dumps(arguments), file=file)
    if len(cloud.lines("calls.jsonl")) > MOST_CALLS:
        sys.exit("ERROR: (gcloud) this goes on for ever")
    failures = cloud.read("failures.json", [])
    for number, (words, stderr) in enumerate(failures):
        if words in " ".join(arguments):
            (cloud.folder / "failures.json").write_text(json.dumps(failures[:number] + failures[number + 1 :]))
            sys.exit(stderr)
    flags = dict(word[2:].partition("=")[::2] for word in arguments if word.startswith("--"))
    group, verb, *names = [word for word in arguments if not word.startswith("--")][2:]
    assert {"project", "zone", "quiet"} <= set(flags), "gcloud would ask"
    {"create": create, "describe": look, "delete": delete, "scp": scp, "ssh": ssh}[verb](cloud, names, flags)
    assert group == ("tpu-vm" if verb in ("scp", "ssh") else "queued-resources")


def refuse(code: str, name: str, text: str) -> None:
    resource = f"projects/p/locations/z/queuedResources/{name}"
    sys.exit(f"ERROR: (gcloud.compute.tpus.queued-resources.create) {code}: Resource '{resource}' {text}")


def create(cloud: Cloud, names: list[str], flags: dict[str, str]) -> None:
    (name,) = names
    if (cloud.folder / "requests" / name).exists():
        refuse("ALREADY_EXISTS", name, "already exists")
    assert flags["node-id"] == name
    chips = int(flags["accelerator-type"].split("-")[1])
    cloud.add_request(name, *STATES, hosts=max(1, chips // 8))


def look(cloud: Cloud, names: list[str], flags: dict[str, str]) -> None:
    (name,) = names
    path = cloud.folder / "requests" / name
    if not path.exists():
        refuse("NOT_FOUND", name, "was not found.")
    states, hosts, error = json.loads(path.read_text())
    happen_next(cloud, name)
    if not cloud.hosts(name) and states[0] == "ACTIVE":
        states = ["SUSPENDED"]
    failed = {"failedData": {"error": {"code": 8, "message": error}}} if error else {}
    print(json.dumps({"name": name, "state": {"state": states[0], **failed}}))
    path.write_text(json.dumps([states[1:] or states, hosts, error]))
    if states[0] == "ACTIVE":
        cloud.make_hosts(name, hosts)


def happen_next(cloud: Cloud, name: str) -> None:
    """What is to happen now, while trainings run."""
    events = cloud.read("events.json", [])
    if not events or not cloud.hosts(name) or not all(map(is_training, cloud.hosts(name))):
        return
    cloud.happen(*events[1:])
    if events[0] == "preempt":
        cloud.end_trainers(signal.SIGTERM, name)
        for host in cloud.hosts(name):
            shutil.rmtree(host)
    elif events[0] == "reboot":  # of the first host alone, whose peers then wait for it
        cloud.end_trainers(signal.SIGTERM, cloud.hosts(name)[0].name)
    elif events[0] in ("finish", "break"):
        (cloud.folder / events[0]).touch()
        for host in cloud.hosts(name):
            wait_for((host / "maskmill" / "ended").exists)


def delete(cloud: Cloud, names: list[str], flags: dict[str, str]) -> None:
    (name,) = names
    if not (cloud.folder / "requests" / name).exists():
        refuse("NOT_FOUND", name, "was not found.")
    assert "force" in flags or not cloud.hosts(name)
    cloud.end_trainers(signal.SIGKILL, name)
    (cloud.folder / "requests" / name).unlink()
    for host in cloud.hosts(name):
        shutil.rmtree(host)


def scp(cloud: Cloud, names: list[str], flags: dict[str, str]) -> None:
    source, target = names
    for host in of_worker(cloud, target.removesuffix(":"), flags["worker"]):
        shutil.copy(source, host)


def ssh(cloud: Cloud, names: list[str], flags: dict[str, str]) -> None:
    code = 0
    for number, host in enumerate(of_worker(cloud, names[0], flags["worker"])):
        print(f"SSH: Attempting to connect to worker {number}...", file=sys.stderr, flush=True)
        environment = {
            "HOME": str(host),
            "PATH": f"{cloud.folder / 'host_bin'}:/usr/local/bin:/usr/bin:/bin",
            "FAKE_CLOUD": str(cloud.folder),
        }
        done = subprocess.run(["bash", "-c", flags["command"]], cwd=host, env=environment)
        code = code or done.returncode
    if code:
        sys.exit(f"ERROR: (gcloud.compute.tpus.tpu-vm.ssh) [/usr/bin/ssh] exited with return code [{code}].")


def of_worker(cloud: Cloud, name: str, worker: str) -> list[Path]:
    hosts = cloud.hosts(name)
    if not hosts:
        refuse("NOT_FOUND", name, "was not found.")
    return hosts if worker == "all" else [hosts[int(worker)]]


def python3(cloud: Cloud, arguments: list[str]) -> None:
    """The python3 of a host: pip brings uv, which makes an environment, and installs our package there."""
    assert arguments[0] == "-m"
    if arguments[1:3] == ["uv", "venv"]:
        (Path(arguments[-1]) / "bin").mkdir(parents=True, exist_ok=True)
    if arguments[1:3] == ["uv", "pip"]:
        package = re.fullmatch(r"maskmill\[tpu\] @ file://(.+)", arguments[-1])
        assert package
        if not Path(package[1]).stat().st_size:
            sys.exit("error: the package is empty")
        programs = Path(arguments[arguments.index("--python") + 1]).parent
        shutil.copy(cloud.folder / "trainer", programs / "maskmill")
        (programs / "python").write_text("#!/bin/sh\necho 1 hosts, 8 chips, TPU v5 lite\n")
        (programs / "python").chmod(0o755)


def maskmill(cloud: Cloud, arguments: list[str]) -> None:
    """A training of that host: goes on from the checkpoint in the bucket until SIGTERM, which saves, or the end."""
    step = cloud.folder / "bucket" / "step"
    begun = int(step.read_text()) if step.exists() else 0
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    host = {"host": Path(os.environ["HOME"]).name, "arguments": arguments, "from": begun}
    with open(cloud.folder / "trainings.jsonl", "a") as file:
        print(json.dumps(host), file=file)
    print(f"step {begun} of 1,000: loss 7.1", flush=True)
    (Path(os.environ["HOME"]) / "ready").write_text(f"{os.getpid()}\n")
    deadline = time.monotonic() + 600  # of a test that failed
    while time.monotonic() < deadline and (not asked or (cloud.folder / "stubborn").exists()):
        if (cloud.folder / "finish").exists():
            return
        if (cloud.folder / "break").exists():
            sys.exit("Error: the loss of step 7 is not finite")
        time.sleep(0.01)
    step.write_text(str(begun + 100))


if __name__ == "__main__":
    here = Cloud.__new__(Cloud)
    here.folder = Path(os.environ["FAKE_CLOUD"])
    {"gcloud": gcloud, "python3": python3, "maskmill": maskmill}[sys.argv[1]](here, sys.argv[2:])
