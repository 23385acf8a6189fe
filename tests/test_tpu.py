"""`maskmill tpu`, whole, with a gcloud that plays Cloud TPU on this machine: see `fake_gcloud.py`."""

import json
import os
import re
import shlex
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from command import maskmill, refuse, run
from documentation import commands_in, read_page
from fake_gcloud import Cloud, wait_for

from deploy.cli import main
from deploy.tpu import (
    SECONDS_TO_STOP,
    STOP,
    Machine,
    Tpu,
    create_command,
    delete_command,
    describe_command,
    install_commands,
    logs_command,
    ssh_command,
    to_shell,
    train_command,
)
from deploy.tpu_run import PATIENCE, REMEDIES, Host, Request, explain, next_action, repeat, wait_until_active
from deploy.tpu_run import run as run_command
from tokenizer.errors import InputError

ROOT = Path(__file__).parent.parent
WHERE = ["--project", "my-project", "--zone", "us-west4-a"]
MADE = [*WHERE, "--accelerator-type", "v5litepod-8"]
TWO_HOSTS = [*WHERE, "--accelerator-type", "v5litepod-16"]
ODD = """gs://bucket/a "quoted" name/it's $HOME `id` \\ *"""
TRAINING = ["--", "gs://bucket/shards", "--model-dir", "gs://bucket/model"]
TPU = Tpu("bert", "my-project", "us-west4-a")


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    cloud = Cloud(tmp_path / "cloud")
    monkeypatch.setenv("PATH", f"{cloud.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_CLOUD", str(cloud.folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "my cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # of the process that packs
    yield cloud
    cloud.end_trainers(signal.SIGKILL)


@pytest.fixture
def installed(cloud) -> Cloud:
    """A TPU of two hosts that trains nothing yet."""
    cloud.add_request("bert", "ACTIVE", hosts=2)
    run("tpu", "install", "bert", *WHERE)
    return cloud


def words(text: str) -> str:
    return " ".join(text.split())


# From nothing to a trained model


def test_create_asks_for_the_tpu_and_waits_until_it_is_there(cloud):
    output = run("tpu", "create", "bert", *MADE, "--spot", "--service-account", "a@b.com", "--every", 0)
    assert cloud.calls() == [
        ["compute", "tpus", "queued-resources", "create", "bert", "--node-id=bert", "--accelerator-type=v5litepod-8"]
        + ["--runtime-version=v2-alpha-tpuv5-lite", "--service-account=a@b.com", "--spot", "--project=my-project"]
        + ["--zone=us-west4-a", "--quiet"]
    ]
    assert re.findall(r"\d\d:\d\d bert (\w+)", output) == ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
    assert "costs until you run: maskmill tpu delete bert --project my-project --zone us-west4-a" in output


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
            tpu = [name for name in package.getnames() if name.endswith("deploy/tpu.py")]
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
    assert "costs no longer" in run("tpu", "delete", "bert", *WHERE, "--yes")
    assert [call[2:5] for call in cloud.calls()] == [["queued-resources", "delete", "bert"]]
    assert run("tpu", "status", "bert", *WHERE) == "bert is not there\n"
    assert run("tpu", "status", "bert-2", *WHERE).startswith("bert-2 ACTIVE")


# Preempted, rebooted, gone on


def test_watch_goes_on_from_the_last_checkpoint_after_a_preemption(cloud):
    cloud.happen("preempt", "wait", "finish")
    output = run("tpu", "watch", "bert", *TWO_HOSTS, "--spot", "--every", 0, *TRAINING)
    done = [
        re.search(r"create|delete|scp|INSTALL|train ", " ".join(call).replace("uv venv", "INSTALL"))
        for call in cloud.calls()
    ]
    steps = [step[0].strip() for step in done if step]
    assert steps == ["create", "scp", "INSTALL", "train", "delete", "create", "scp", "INSTALL", "train"]
    assert [training["from"] for training in cloud.trainings()] == [0, 0, 100, 100]
    assert len({json.dumps(training["arguments"]) for training in cloud.trainings()}) == 1
    assert "bert SUSPENDED: delete" in output
    assert "The training is done. The TPU costs until you run: maskmill tpu delete bert" in output
    assert len(cloud.hosts("bert")) == 2


def test_watch_takes_up_what_runs_already(installed):
    run("tpu", "train", "bert", *WHERE, *TRAINING)
    wait_for(lambda: len(installed.trainings()) == 2)
    before = len(installed.calls())
    installed.happen("finish")
    run("tpu", "watch", "bert", *TWO_HOSTS, "--every", 0, *TRAINING)
    assert len(installed.trainings()) == 2
    assert all("maskmill-host" in call[-1] for call in installed.calls()[before:])


def test_watch_trains_again_on_all_hosts_when_one_was_rebooted(installed):
    installed.happen("reboot", "finish")
    output = run("tpu", "watch", "bert", *TWO_HOSTS, "--every", 0, *TRAINING)
    assert "1 host interrupted, 1 host running: stop" in output
    assert [training["from"] for training in installed.trainings()][:2] == [0, 0]
    assert len(installed.trainings()) == 4
    assert all(training["from"] >= 100 for training in installed.trainings()[2:])


def test_watch_ends_with_the_error_of_a_training(installed):
    installed.happen("break")
    message = refuse("tpu", "watch", "bert", *TWO_HOSTS, "--every", 0, *TRAINING)
    assert (
        "the training on bert-w0 ended 1 (Error: the loss of step 7 is not finite); see 'maskmill tpu logs" in message
    )
    assert len(installed.hosts("bert")) == 2


def test_watch_does_not_take_another_training_for_its_own(installed):
    run("tpu", "train", "bert", *WHERE, *TRAINING)
    wait_for(lambda: len(installed.trainings()) == 2)
    another = [*TRAINING, "--learning-rate", "1e-5"]
    message = refuse("tpu", "watch", "bert", *TWO_HOSTS, "--every", 0, *another)
    assert (
        "bert-w0 runs a training with other arguments; watch it with those, or end it with 'maskmill tpu stop"
        in message
    )
    (installed.folder / "break").touch()
    wait_for(lambda: all((host / "maskmill/ended").exists() for host in installed.hosts("bert")))
    (installed.folder / "break").unlink()
    installed.happen("finish")
    run("tpu", "watch", "bert", *TWO_HOSTS, "--every", 0, *another)
    for training in installed.trainings()[2:]:
        assert "1e-5" in training["arguments"]
    assert len(installed.trainings()) == 4


def test_watch_deletes_at_the_end_when_it_was_told_to(installed):
    installed.happen("finish")
    output = run("tpu", "watch", "bert", *TWO_HOSTS, "--every", 0, "--delete-when-done", *TRAINING)
    assert "The training is done, and bert is deleted." in output
    assert not installed.hosts("bert")


def test_watch_ends_at_once_when_the_first_look_fails(installed):
    installed.fail("describe", "ERROR: (gcloud.x) Reauthentication failed. Please run: $ gcloud auth login")
    assert "run: gcloud auth login" in refuse("tpu", "watch", "bert", *TWO_HOSTS, "--every", 0, *TRAINING)
    assert not installed.trainings()


@pytest.mark.parametrize("holes", [1, PATIENCE])
def test_a_hole_in_the_network_is_waited_out(holes):
    steps, said = ["wait", *["lost"] * holes, "train", *["lost"] * holes, "done"], []
    repeat(lambda: play(steps), said.append, 0)
    assert not steps
    assert len(said) == 2 * holes
    assert "lost; looking again in 0 s" in said[0]


def test_a_network_that_stays_away_is_told():
    steps = ["wait", *["lost"] * (PATIENCE + 1)]
    with pytest.raises(InputError, match="lost"):
        repeat(lambda: play(steps), lambda _: None, 0)
    assert not steps


def play(steps: list[str]) -> str:
    if (step := steps.pop(0)) == "lost":
        raise InputError("lost")
    return step


@pytest.mark.parametrize(
    ("request_", "states", "action"),
    [
        (None, [], "create"),
        (Request("WAITING_FOR_RESOURCES"), [], "wait"),
        (Request("SUSPENDING"), [], "wait"),
        (Request("SUSPENDED"), [], "delete"),
        (Request("FAILED", "why"), [], "fail"),
        (Request("ACTIVE"), ["bare"], "install"),
        (Request("ACTIVE"), ["idle", "bare"], "install"),
        (Request("ACTIVE"), ["running", "bare"], "stop"),
        (Request("ACTIVE"), ["idle", "idle"], "train"),
        (Request("ACTIVE"), ["interrupted", "ended 0"], "train"),
        (Request("ACTIVE"), ["running", "running"], "wait"),
        (Request("ACTIVE"), ["running", "ended 0"], "wait"),
        (Request("ACTIVE"), ["running", "interrupted"], "stop"),
        (Request("ACTIVE"), ["running", "ended 1"], "fail"),
        (Request("ACTIVE"), ["ended 0", "ended 0"], "done"),
    ],
)
def test_what_is_next_follows_from_what_is_there(request_, states, action):
    assert next_action(request_, [Host(str(number), state) for number, state in enumerate(states)]) == action


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

    monkeypatch.setattr("deploy.tpu_run.time.sleep", interrupt)
    result = CliRunner().invoke(main, ["tpu", "create", "bert", *MADE])
    assert result.exit_code == 130
    assert "The request keeps its place in the queue, and then costs; to end that: maskmill tpu delete" in result.output
    assert "Traceback" not in result.output


# What goes wrong


SAID = {
    "not logged in": (
        "ERROR: (gcloud.compute.tpus.queued-resources.create) You do not currently have an active account selected.\n"
        "Please run:\n\n  $ gcloud auth login\n\nto obtain new credentials.",
        "run: gcloud auth login",
    ),
    "API not enabled": (
        "ERROR: (gcloud.compute.tpus.queued-resources.create) PERMISSION_DENIED: Cloud TPU API has not been used in "
        "project my-project before or it is disabled.",
        "run: gcloud services enable tpu.googleapis.com --project my-project",
    ),
    "wrong zone": (
        "ERROR: (gcloud.compute.tpus.queued-resources.create) PERMISSION_DENIED: Permission denied on "
        "'locations/us-west4-a' (or it may not exist). This command is authenticated as me@x.com which is the active "
        "account specified by the [core/account] property.\nPermission denied on 'locations/us-west4-a'.\n"
        "- '@type': type.googleapis.com/google.rpc.ErrorInfo",
        "check --project my-project, --zone us-west4-a (gcloud compute tpus locations list --project my-project)",
    ),
    "quota": (
        "ERROR: (gcloud.compute.tpus.queued-resources.create) RESOURCE_EXHAUSTED: Quota limit "
        "'TPUV5sPreemptibleLitepodPerProjectPerZoneForTPUAPI' has been exceeded. Limit: 0 in zone us-west4-a.",
        "https://console.cloud.google.com/iam-admin/quotas?project=my-project",
    ),
    "stockout": (
        "Create request issued for: [bert]\nWaiting for operation [projects/p/operations/o] to complete...failed.\n"
        'ERROR: (gcloud.compute.tpus.tpu-vm.create) {\n  "code": 8,\n  "message": "There is no more capacity in the '
        'zone \\"us-west4-a\\"; you can try in another zone [EID: 0x1]"\n}',
        "wait, or take another zone, fewer chips or --spot",
    ),
    "no such accelerator": (
        "ERROR: (gcloud.compute.tpus.queued-resources.create) INVALID_ARGUMENT: Cloud TPU received a bad request. The "
        'requested accelerator configuration for accelerator type, "v5litepod-8", could not be found',
        "gcloud compute tpus accelerator-types list --project my-project --zone us-west4-a",
    ),
    "something new": ("ERROR: (gcloud.x) INTERNAL: the moon is full", "see the command with --dry-run"),
    "nothing": ("", "gcloud says: nothing; see the command with --dry-run"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_gcloud_says_is_told_in_a_sentence_with_the_way_out(cloud, case):
    stderr, remedy = SAID[case]
    cloud.fail("create", stderr)
    message = refuse("tpu", "create", "bert", *MADE)
    assert message.startswith("Error: gcloud says: ")
    assert remedy in message
    assert "authenticated as" not in message
    if said := re.search(r"no more capacity|an active account|Quota limit|could not be found|moon", stderr):
        assert said[0] in message


def test_a_name_that_is_taken_is_told_with_what_to_do(cloud):
    cloud.add_request("bert", "ACTIVE")
    message = refuse("tpu", "create", "bert", *MADE)
    assert "already exists; go on with it ('maskmill tpu status bert --project my-project" in message


@pytest.mark.parametrize(
    "command", [["install"], ["delete", "--yes"], ["logs"], ["stop"], ["train", *TRAINING]], ids=lambda words: words[0]
)
def test_a_name_that_is_not_there_is_told(cloud, command):
    name, *options = command
    message = refuse("tpu", name, "bertt", *WHERE, *options)
    assert "was not found" in message
    assert "gcloud compute tpus queued-resources list --project my-project --zone us-west4-a" in message


def test_a_request_that_failed_says_why_and_is_left_to_the_user(cloud):
    cloud.add_request("bert", "FAILED", error="There is no more capacity in the zone")
    message = refuse("tpu", "watch", "bert", *MADE, "--every", 0, *TRAINING)
    assert "the request bert failed: gcloud says: There is no more capacity in the zone; wait, or take" in message
    assert "clear it away with: maskmill tpu delete bert --project my-project --zone us-west4-a" in message
    assert not cloud.calls()


def test_a_request_that_is_taken_before_it_was_there_is_told(cloud):
    cloud.add_request("bert", "SUSPENDED")
    with pytest.raises(InputError, match=r"bert is preempted \(SUSPENDED\); delete and create it again"):
        wait_until_active(TPU, lambda _: None, 0)


def test_an_error_on_a_host_is_told_with_its_last_line():
    stderr = (
        "SSH: Attempting to connect to worker 0...\nerror: Failed to fetch: https://pypi.org/simple/jax/\n"
        "##### Command execution on worker 0 failed with exit status 2. Continuing.\n"
        "ERROR: (gcloud.compute.tpus.tpu-vm.ssh) [/usr/bin/ssh] exited with return code [2]."
    )
    assert "gcloud says: error: Failed to fetch: https://pypi.org/simple/jax/ #####" in explain(stderr, TPU)
    without_error = stderr.rpartition("\n")[0]
    assert "Failed to fetch" in explain(without_error, TPU)


def test_a_host_that_does_not_answer_is_told():
    stderr = "ERROR: (gcloud.compute.tpus.tpu-vm.ssh) [/usr/bin/ssh] exited with return code [255]."
    assert "whether the firewall of its network lets port 22 in" in explain(stderr, TPU)


def test_gcloud_missing_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refuse("tpu", "status", "bert", *WHERE)
    assert message.startswith("Error: gcloud is not installed here; get it from https://cloud.google.com/sdk/docs/ins")
    assert run("tpu", "status", "bert", *WHERE, "--dry-run").startswith("gcloud compute tpus")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "Bert", *MADE], "NAME Bert is no name of a TPU"),
        (
            ["create", "bert", "--project", "p", "--zone", "us-west4", "--accelerator-type", "v6e-8"],
            "us-west4 is no zone",
        ),
        (
            ["create", "bert", *WHERE, "--accelerator-type", "h100"],
            "--accelerator-type h100 is none that is known here",
        ),
        (["create", "bert", "--project", "p", "--accelerator-type", "v6e-8"], "Missing option '--zone'"),
        (["train", "bert", *WHERE, "--", "shards", "--model-dir", "gs://b/m"], "shards is on this machine"),
        (["train", "bert", *WHERE, "--", "gs://b/s", "--model-dir", "model"], "model is on this machine"),
        (["train", "bert", *WHERE, *TRAINING, "--init-checkpoint", "model"], "model is on this machine"),
        (["train", "bert", *WHERE, *TRAINING, "--bert-config", "huge"], "huge is on this machine"),
        (
            ["train", "bert", *WHERE, "--", "--phase", "shards:3", "--model-dir", "gs://b/m"],
            "shards is on this machine",
        ),
        (["train", "bert", *WHERE, "--", "--model-dir", "gs://b/m"], "expected a DATASET, or --phase"),
        (["train", "bert", *WHERE, *TRAINING, "--learning-rate", "nan"], "learning_rate is nan; expected more than 0"),
        (["train", "bert", *WHERE, "--", "gs://b/s"], "Missing option '--model-dir'"),
        (["train", "bert", *WHERE, *TRAINING, "--train-batchsize", "8"], "No such option '--train-batchsize'"),
        (["train", "bert", *WHERE, *TRAINING, "--backend", "tensorflow"], "--backend tensorflow runs on no TPU"),
        (["train", "bert", *WHERE, *TRAINING, "--bert-config", __file__], "is a file of this machine"),
        (["train", "bert", *WHERE, *TRAINING, f"--bert-config={__file__}"], "is a file of this machine"),
    ],
)
def test_what_cannot_be_right_is_refused_before_gcloud_is_run(cloud, arguments, sentence):
    assert sentence in refuse("tpu", *arguments, exit_code=2)
    assert not cloud.calls()


def test_project_and_zone_may_be_those_that_gcloud_takes_from_the_environment(cloud, monkeypatch):
    monkeypatch.setenv("CLOUDSDK_CORE_PROJECT", "its-project")
    monkeypatch.setenv("CLOUDSDK_COMPUTE_ZONE", "europe-west4-b")
    assert "--project=its-project \\\n  --zone=europe-west4-b" in run("tpu", "stop", "bert", "--dry-run")


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


# docs/tpu.md

# The commands of gcloud in docs/tpu.md and in deploy/, and the flags of theirs that are used: as in Google's reference,
# https://cloud.google.com/sdk/gcloud/reference/, below the command's own words, in May 2025.
WIDE = {"--project", "--quiet", "--format"}
GCLOUD = {
    "auth login": set(),
    "compute networks create": {"--subnet-mode"},
    "compute firewall-rules create": {"--network", "--allow", "--source-ranges"},
    "compute tpus accelerator-types list": {"--zone"},
    "compute tpus locations list": set(),
    "compute tpus queued-resources create": {
        *{"--zone", "--node-id", "--accelerator-type", "--runtime-version", "--spot", "--service-account", "--network"},
        "--subnetwork",
    },
    "compute tpus queued-resources delete": {"--zone", "--force"},
    "compute tpus queued-resources describe": {"--zone"},
    "compute tpus queued-resources list": {"--zone"},
    "compute tpus tpu-vm scp": {"--zone", "--worker"},
    "compute tpus tpu-vm ssh": {"--zone", "--worker", "--command"},
    "iam service-accounts add-iam-policy-binding": {"--member", "--role"},
    "iam service-accounts create": set(),
    "projects add-iam-policy-binding": {"--member", "--role"},
    "services enable": set(),
    "storage buckets add-iam-policy-binding": {"--member", "--role"},
    "storage buckets create": {"--location", "--uniform-bucket-level-access"},
    "storage cp": {"--recursive"},
    "storage rsync": {"--recursive"},
}


def documented_commands() -> list[str]:
    return commands_in(read_page("tpu.md"))


def check_gcloud(arguments: list[str]) -> None:
    given = " ".join(arguments)
    (command,) = [one for one in GCLOUD if given.startswith(f"{one} ") or given == one]
    flags = {word.partition("=")[0] for word in arguments if word.startswith("--")}
    assert flags <= GCLOUD[command] | WIDE, given


def test_the_documentation_has_every_command():
    found = " ".join(documented_commands())
    for name in main.commands["tpu"].commands:
        assert f"maskmill tpu {name} " in found


@pytest.mark.parametrize("command", [one for one in documented_commands() if not one.startswith("maskmill ")])
def test_every_documented_command_of_others_is_one_that_exists(command):
    program, *arguments = shlex.split(command, comments=True)
    if program == "gcloud":
        check_gcloud(arguments)
    else:
        assert program in ("pip", "tensorboard", "docker", "sudo"), command


def test_what_we_run_is_in_the_table_of_gcloud():
    machine = Machine("v6e-8", spot=True, service_account="a", network="n", subnetwork="s")
    made = [create_command(TPU, machine), describe_command(TPU), delete_command(TPU), *install_commands(TPU)]
    for program, *arguments in [*made, train_command(TPU, []), logs_command(TPU, 5, True, "0")]:
        if program == "gcloud":
            check_gcloud(arguments)


def test_remedies_name_commands_that_exist():
    for remedy in REMEDIES.values():
        for command in re.findall(r"gcloud ([a-z].*?)(?:[,)]|$)", remedy):
            check_gcloud(command.format(project="p", zone="z", status="s").split())
