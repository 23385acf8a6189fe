"""`maskmill validate` on the command line: what it prints, its exit codes, and datasets in Cloud Storage."""

import json
import re
import shlex
import shutil

import pytest
from click.testing import CliRunner
from cloud import emulator
from command import SMALL, assert_refused, maskmill, refuse, run
from documentation import check_maskmill, commands_in, read_page
from google.cloud.storage import Client
from rich.console import Console

from maskmill.deploy.cli import main
from maskmill.deploy.datasets import validation
from maskmill.pipeline.validation.rules import RULES

PAGE = read_page("validate.md")


@pytest.mark.parametrize("command", commands_in(PAGE))
def test_every_documented_command_is_one_that_exists(command):
    program, *arguments = shlex.split(command)
    assert program == "maskmill"
    check_maskmill(arguments)


def test_the_page_names_every_rule_and_no_other():
    table = PAGE.split("| rule |")[1].split("\n\n")[0]
    named = [name for line in table.splitlines() for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])]
    assert sorted(named) == sorted(rule.name for rule in RULES)


@pytest.fixture(scope="module")
def made(tmp_path_factory, corpus_file, small_vocab_file):
    """A dataset of the command line, one document of which was rejected; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    documents = [json.dumps({"text": text}) for text in corpus_file.read_text().split("\n\n")]
    (folder / "corpus.jsonl").write_text("\n".join([*documents, "{broken"]))
    options = [*SMALL, "--eval-fraction", 0.2, "--max-rejected", 0.1, "--shards-per-copy", 2, "--num-workers", 1]
    run("generate", folder / "corpus.jsonl", "--vocab-file", small_vocab_file, "--output", folder / "out", *options)
    return folder / "out"


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "out")


def test_it_says_what_was_proved(folder):
    printed = run("validate", folder)
    assert f"{folder}: valid; 5 shards, " in printed
    rows = dict(re.findall(r"│ ([a-z ,]+?) +│ (.*?) +│", printed))
    assert list(rows)[:4] == ["manifest", "files", "records", "examples"]
    assert re.fullmatch(
        r"[78]\d\.\d\d% mask, \d+\.\d\d% same, \d+\.\d\d% random: as expected by chance", rows["train, masked"]
    )
    assert rows["held out"].endswith(" have the text of one to train on")


def test_it_names_the_first_problems_counts_the_others_and_ends_with_1(folder):
    first, second = sorted(folder.glob("instances-*"))[:2]
    for path in (first, second):
        content, at = bytearray(path.read_bytes()), 0
        while at < len(content):  # a bit of every record
            content[at + 12 + 50] ^= 4
            at += 12 + int.from_bytes(content[at : at + 8], "little") + 4
        path.write_bytes(content)
    result = maskmill("validate", folder)
    assert result.returncode == 1
    assert result.stderr == ""
    assert "instances-00000-of-00004.tfrecord, record 1: fails its checksum\n" in result.stdout
    assert result.stdout.count(": fails its checksum\n") == 20
    rest = rf"\n\.\.\. (\d+) of this kind \(record\): \d+ in ({first.name}|{second.name}), \d+ in instances-.*\n"
    assert int(re.search(rest, result.stdout)[1]) > 20
    assert re.search(rf"{folder}: \d+ problems; 5 shards, ", result.stdout)
    assert "checked" not in result.stdout


def test_several_datasets_and_json(made, folder):
    (folder / "vocab.txt").unlink()
    result = CliRunner().invoke(main, ["validate", str(made), str(folder), "--json"])
    assert result.exit_code == 1
    good, bad = json.loads(result.output)
    assert (good["dataset"], good["is_valid"], good["problems"], good["shards"]) == (str(made), True, [], 5)
    assert good["examples"] == good["counts"]["train/instances"] + good["counts"]["eval/instances"]
    assert (bad["is_valid"], bad["problem_counts"]) == (False, {"missing": {"vocab.txt": 1}})
    says = "it is missing, but dataset_info.json lists it"
    assert bad["problems"] == [{"kind": "missing", "file": "vocab.txt", "record": None, "says": says}]


def test_damage_to_the_list_of_what_was_rejected_is_found(folder):
    (listed,) = folder.glob("rejected-*.jsonl")
    listed.write_text(listed.read_text().replace("broken", "brokem"))
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["validate", str(folder)])
    assert result.exit_code == 1
    assert f"{listed.name}: it has sha256" in result.output


def test_what_is_no_dataset_is_refused(tmp_path):
    assert_refused(maskmill("validate", tmp_path), "is no dataset: it has no dataset_info.json")
    (tmp_path / "dataset_info.json").write_text("{")
    assert "is not JSON" in refuse("validate", tmp_path)
    assert "Missing argument 'DATASET...'" in refuse("validate", exit_code=2)


def test_a_terminal_sees_a_bar(folder, monkeypatch, capsys):
    console = Console(force_terminal=True, width=100, highlight=False, markup=False)
    monkeypatch.setattr(validation, "new_talk", lambda: console)
    assert validation.validate_datasets([str(folder)], 2, as_json=False)
    assert "5 of 5 shards, " in capsys.readouterr().out


def test_datasets_in_cloud_storage(made, monkeypatch):
    with emulator() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        bucket = Client().create_bucket("work")
        for path in made.iterdir():
            bucket.blob(f"out/{path.name}").upload_from_filename(path)
        result = maskmill("validate", "gs://work/out", "--num-workers", 2)
        assert "gs://work/out: valid; 5 shards, " in result.stdout, result.stderr
        path = made / "instances-00001-of-00004.tfrecord"
        bucket.blob(f"out/{path.name}").upload_from_string(path.read_bytes()[:-1])
        result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["validate", "gs://work/out"])
        assert result.exit_code == 1
        assert f"{path.name}: it has {path.stat().st_size - 1:,} bytes, dataset_info.json says" in result.output
        assert ": truncated, and what follows cannot be read" in result.output
