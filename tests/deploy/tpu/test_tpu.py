"""`maskmill tpu`, whole, with a gcloud that plays Cloud TPU on this machine: see `fake_gcloud.py`."""

import json
import os
import re
import shlex
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from command import maskmill, refuse, run
from fake_gcloud import wait_for
from fake_tpu import MADE, TPU, TRAINING, WHERE
from fake_tpu import cloud as cloud  # a fixture
from fake_tpu import installed as installed  # a fixture

from maskmill.deploy.cli import main
from maskmill.deploy.tpu.gcloud import (
    SECONDS_TO_STOP,
    STOP,
    Machine,
    create_command,
    ssh_command,
    to_shell,
    train_command,
)
from maskmill.deploy.tpu.operations import run as run_command

ODD = """gs://bucket/a "quoted" name/it's $HOME `id` \\ *"""


# From nothing to a trained model


def test_create_asks_for_the_tpu_and_waits_until_it_is_there(cloud):
    output = run("tpu", "create", "bert", *MADE, "--spot", "--service-account", "a@b.com", "--every", 0)
    assert cloud.calls() == [
        ["compute", "tpus", "queued-resources", "create", "bert", "--node-id=bert", "--accelerator-type=v5litepod-8"]
        + ["--runtime-version=v2-alpha-tpuv5-lite", "--service-account=a@b.com", "--spot", "--project=my-project"]
        + ["--zone=us-west4-a", "--quiet"]
    ]
    assert re.findall(r"\d\d:\d\d bert (\w+)", output) == ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
    assert "You are billed until you run: maskmill tpu delete bert --project my-project --zone us-west4-a" in output


def test_create_may_leave_the_request_to_its_queue(cloud):
    assert "It is there" not in run("tpu", "create", "bert", *MADE, "--no-wait")
    assert run("tpu", "status", "bert", *WHERE) == "bert WAITING_FOR_RESOURCES\n"


@pytest.mark.parametrize(
    ("accelerator", "runtime"),
    [
        ("v6e-8", "v2-alpha-tpuv6e"),
        ("v5p-8", "v2-alpha-tpuv5"),
        ("v5litepod-256", "v2-alpha-tpuv5-lite"),
        ("v4-8", "tpu-ubuntu2204-base"),
    ],
)
def test_the_runtime_follows_from_the_accelerator(accelerator, runtime):
    assert f"--runtime-version={runtime}" in create_command(TPU, Machine(accelerator))


def test_a_runtime_that_is_given_is_taken_for_any_accelerator():
    assert "--runtime-version=v9" in create_command(TPU, Machine("v9x-8", runtime_version="v9"))


def test_install_brings_what_is_here_to_every_host(cloud):
    cloud.add_request("bert", "ACTIVE", hosts=2)
    run("tpu", "install", "bert", *WHERE)
    assert len(cloud.hosts("bert")) == 2
    for host in cloud.hosts("bert"):
        assert (host / "maskmill" / "installed").exists()
        with tarfile.open(host / "maskmill.tar.gz") as package:
            tpu = [name for name in package.getnames() if name.endswith("deploy/tpu/gcloud.py")]
            (metadata,) = [name for name in package.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name)]
            file = package.extractfile(metadata)
            assert file
            requires = [line for line in file.read().decode().splitlines() if 'extra == "tpu"' in line]
        assert tpu
        assert any("jax[tpu]" in line for line in requires)
        assert not any("tensorflow" in line for line in requires)


def test_train_starts_on_every_host_the_very_same_and_returns(installed):
    output = run("tpu", "train", "bert", *WHERE, *TRAINING, "--train-batch-size", 256)
    wait_for(lambda: len(installed.trainings()) == 2)
    expected = ["train", *TRAINING[1:], "--train-batch-size", "256", "--backend", "jax", "--distributed"]
    assert [training["arguments"] for training in installed.trainings()] == [expected, expected]
    assert {training["host"] for training in installed.trainings()} == {"bert-w0", "bert-w1"}
    assert "maskmill tpu logs bert --project my-project --zone us-west4-a --follow" in output
    status = run("tpu", "status", "bert", *WHERE)
    assert status.splitlines() == [
        "bert ACTIVE",
        "bert-w0 running step 0 of 1,000: loss 7.1",
        "bert-w1 running step 0 of 1,000: loss 7.1",
    ]


def test_odd_names_reach_the_trainer_as_they_are(installed):
    run("tpu", "train", "bert", *WHERE, "--", ODD, "--model-dir", f"{ODD}/model")
    wait_for(lambda: len(installed.trainings()) == 2)
    for training in installed.trainings():
        assert training["arguments"] == [
            "train",
            ODD,
            "--model-dir",
            f"{ODD}/model",
            "--backend",
            "jax",
            "--distributed",
        ]


def test_logs_shows_what_a_host_wrote(installed):
    run("tpu", "train", "bert", *WHERE, *TRAINING)
    wait_for(lambda: all((host / "maskmill/train.log").read_text() for host in installed.hosts("bert")))
    shown = maskmill("tpu", "logs", "bert", *WHERE, "--worker", 1)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == "step 0 of 1,000: loss 7.1\n"


def test_stop_lets_the_training_save_and_the_same_train_goes_on(installed):
    run("tpu", "train", "bert", *WHERE, *TRAINING)
    wait_for(lambda: len(installed.trainings()) == 2)
    run("tpu", "stop", "bert", *WHERE)
    assert "bert-w0 interrupted" in run("tpu", "status", "bert", *WHERE)
    run("tpu", "train", "bert", *WHERE, *TRAINING)
    wait_for(lambda: len(installed.trainings()) == 4)
    assert [training["from"] for training in installed.trainings()] == [0, 0, 100, 100]


def test_stop_kills_a_training_that_does_not_end(installed):
    (installed.folder / "stubborn").touch()
    run("tpu", "train", "bert", *WHERE, *TRAINING)
    wait_for(lambda: len(installed.trainings()) == 2)
    said = run_command(TPU, ssh_command(TPU, STOP.replace(str(SECONDS_TO_STOP), "0.2")))
    assert "bert-w0 did not stop in 0.2 s and was killed; its last checkpoint holds" in said
    assert "bert-w1 interrupted" in run("tpu", "status", "bert", *WHERE)


def test_stop_where_nothing_runs_does_nothing(installed):
    run("tpu", "stop", "bert", *WHERE)
    assert "bert-w0 idle" in run("tpu", "status", "bert", *WHERE)


@pytest.mark.parametrize(("event", "state"), [("finish", "ended 0"), ("break", "ended 1 Error: the loss of step 7")])
def test_status_tells_how_a_training_ended(installed, event, state):
    run("tpu", "train", "bert", *WHERE, *TRAINING)
    (installed.folder / event).touch()
    wait_for(lambda: all((host / "maskmill/ended").exists() for host in installed.hosts("bert")))
    assert f"bert-w1 {state}" in run("tpu", "status", "bert", *WHERE)


def test_delete_asks_first(cloud):
    cloud.add_request("bert", "ACTIVE")
    result = CliRunner().invoke(main, ["tpu", "delete", "bert", *WHERE], input="n\n")
    assert result.exit_code == 1
    assert "Delete the TPU bert of project my-project in us-west4-a, and end what runs there? [y/N]" in result.output
    assert not cloud.calls()


def test_delete_deletes_what_was_named_and_nothing_else(cloud):
    cloud.add_request("bert", "ACTIVE")
    cloud.add_request("bert-2", "ACTIVE")
    assert "You are no longer billed for it." in run("tpu", "delete", "bert", *WHERE, "--yes")
    assert [call[2:5] for call in cloud.calls()] == [["queued-resources", "delete", "bert"]]
    assert run("tpu", "status", "bert", *WHERE) == "bert is not there\n"
    assert run("tpu", "status", "bert-2", *WHERE).startswith("bert-2 ACTIVE")


# A second training, and a lost connection


def test_a_second_training_is_refused_where_one_runs(installed):
    run("tpu", "train", "bert", *WHERE, *TRAINING)
    wait_for(lambda: len(installed.trainings()) == 2)
    for command in (["train", "bert", *WHERE, *TRAINING], ["install", "bert", *WHERE]):
        message = refuse("tpu", *command)
        assert message == "Error: bert: something runs there already; see status, or end it with stop"
    assert len(installed.trainings()) == 2


def test_status_as_json(installed):
    values = json.loads(run("tpu", "status", "bert", *WHERE, "--json"))
    assert (values["name"], values["state"], values["error"]) == ("bert", "ACTIVE", "")
    assert [host["state"] for host in values["hosts"]] == ["idle", "idle"]
    assert set(values["hosts"][0]) == {"name", "state", "training", "last_line"}
    missing = json.loads(run("tpu", "status", "other", *WHERE, "--json"))
    assert missing == {"name": "other", "state": None, "error": "", "hosts": []}
    assert "prints commands of a shell" in refuse("tpu", "status", "bert", *WHERE, "--json", "--dry-run", exit_code=2)


def test_train_before_install_is_refused(cloud):
    cloud.add_request("bert", "ACTIVE")
    assert refuse("tpu", "train", "bert", *WHERE, *TRAINING).endswith("bert: not installed there; run install first")


def test_a_training_outlives_the_connection_that_started_it(installed):
    run("tpu", "train", "bert", *WHERE, *TRAINING)  # every process of that ssh has ended here
    wait_for(lambda: len(installed.trainings()) == 2)
    pid = int((installed.hosts("bert")[0] / "maskmill" / "pid").read_text())
    assert os.getsid(pid) != os.getsid(0)
    terminal = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4]
    assert terminal == "0"


def test_ctrl_c_says_what_goes_on_without_us(cloud, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("maskmill.deploy.tpu.operations.time.sleep", interrupt)
    result = CliRunner().invoke(main, ["tpu", "create", "bert", *MADE])
    assert result.exit_code == 130
    assert (
        "The request stays in the queue, and you are billed once the TPU is ready; to cancel it: maskmill tpu delete"
        in result.output
    )
    assert "Traceback" not in result.output


# --dry-run


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "bert", *MADE, "--network", "my net", "--no-wait"],
        ["install", "bert", *WHERE],
        ["train", "bert", *WHERE, "--", ODD, "--model-dir", "gs://b/m"],
        ["logs", "bert", *WHERE, "--lines", "5"],
        ["stop", "bert", *WHERE],
        ["status", "bert", *WHERE],
        ["delete", "bert", *WHERE, "--yes"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_shell_that_is_given_a_dry_run_does_what_the_run_does(cloud, arguments):
    name, *rest = arguments
    printed = run("tpu", name, "--dry-run", *rest)
    assert not cloud.lines("calls.jsonl"), "a dry run ran something"
    assert not list(cloud.folder.parent.glob("my cache/**/*.gz"))
    calls = []
    for do in (lambda: subprocess.run(["bash", "-c", printed], check=True), lambda: run("tpu", *arguments)):
        if name != "create":
            cloud.add_request("bert", "ACTIVE")
        for host in cloud.hosts("bert") if name in ("train", "logs") else ():
            (host / "maskmill").mkdir()
            (host / "maskmill" / "installed").touch()
            (host / "maskmill" / "train.log").touch()
        do()
        calls.append(cloud.lines("calls.jsonl"))
        cloud.forget()
    assert calls[0]
    assert calls[0] == calls[1]


def test_watch_prints_all_that_it_would_run(cloud):
    printed = run("tpu", "watch", "bert", *MADE, "--dry-run", *TRAINING)
    assert [re.search(r"create|source_package|scp|uv venv|maskmill train|delete", part)[0] for part in
            re.split(r"\n(?=gcloud|\S+ -P -m)", printed)] == [
        "create", "source_package", "scp", "uv venv", "maskmill train", "delete"]  # fmt: skip
    assert not cloud.lines("calls.jsonl")


def test_the_command_of_a_training_quotes_twice_and_a_shell_unquotes_twice():
    (remote,) = [word for word in train_command(TPU, [ODD]) if word.startswith("--command=")]
    (line,) = [line for line in remote.splitlines() if "maskmill train" in line]
    assert shlex.split(line.partition(">>")[0])[2:] == [ODD, "--backend", "jax", "--distributed"]
    typed = f"printf '%s\\0' {to_shell([remote])}"
    assert subprocess.run(["bash", "-c", typed], capture_output=True, text=True).stdout == f"{remote}\0"
