"""`maskmill tpu watch`, and what is said when gcloud, a host or an argument is wrong; see `fake_gcloud.py`."""

import json
import re

import pytest
from command import refuse, run
from fake_gcloud import wait_for
from fake_tpu import MADE, TPU, TRAINING, WHERE
from fake_tpu import cloud as cloud  # a fixture
from fake_tpu import installed as installed  # a fixture

from maskmill.deploy.tpu.operations import (
    PATIENCE,
    Host,
    QueuedResource,
    explain,
    next_action,
    repeat,
    wait_until_active,
)
from maskmill.tokenizer.errors import InputError

TWO_HOSTS = [*WHERE, "--accelerator-type", "v5litepod-16"]


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
    assert "The training is done. You are billed for the TPU until you run: maskmill tpu delete bert" in output
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
        (QueuedResource("WAITING_FOR_RESOURCES"), [], "wait"),
        (QueuedResource("SUSPENDING"), [], "wait"),
        (QueuedResource("SUSPENDED"), [], "delete"),
        (QueuedResource("FAILED", "why"), [], "fail"),
        (QueuedResource("ACTIVE"), ["bare"], "install"),
        (QueuedResource("ACTIVE"), ["idle", "bare"], "install"),
        (QueuedResource("ACTIVE"), ["running", "bare"], "stop"),
        (QueuedResource("ACTIVE"), ["idle", "idle"], "train"),
        (QueuedResource("ACTIVE"), ["interrupted", "ended 0"], "train"),
        (QueuedResource("ACTIVE"), ["running", "running"], "wait"),
        (QueuedResource("ACTIVE"), ["running", "ended 0"], "wait"),
        (QueuedResource("ACTIVE"), ["running", "interrupted"], "stop"),
        (QueuedResource("ACTIVE"), ["running", "ended 1"], "fail"),
        (QueuedResource("ACTIVE"), ["ended 0", "ended 0"], "done"),
    ],
)
def test_what_is_next_follows_from_what_is_there(request_, states, action):
    assert next_action(request_, [Host(str(number), state) for number, state in enumerate(states)]) == action


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
    assert "gcloud says: error: Failed to fetch: https://pypi.org/simple/jax/ #####" in str(explain(stderr, TPU))
    without_error = stderr.rpartition("\n")[0]
    assert "Failed to fetch" in str(explain(without_error, TPU))


def test_a_host_that_does_not_answer_is_told():
    stderr = "ERROR: (gcloud.compute.tpus.tpu-vm.ssh) [/usr/bin/ssh] exited with return code [255]."
    assert "whether the firewall of its network lets port 22 in" in str(explain(stderr, TPU))


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
            "--accelerator-type h100 is not a known accelerator type",
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
        (
            ["train", "bert", *WHERE, *TRAINING, "--learning-rate", "nan"],
            "'--learning-rate': nan is given; expected a finite number",
        ),
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
