"""Of docs/tpu.md: that it has every command of ours; and of gcloud's, there and in deploy/, that they exist."""

import re
import shlex

import pytest
from documentation import commands_in, read_page
from fake_tpu import TPU

from maskmill.deploy.cli import main
from maskmill.deploy.tpu.gcloud import (
    Machine,
    create_command,
    delete_command,
    describe_command,
    install_commands,
    logs_command,
    train_command,
)
from maskmill.deploy.tpu.operations import REMEDIES

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
