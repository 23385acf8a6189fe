"""What doctor finds in an installation, and in what a run is to read and write."""

import importlib.metadata
import sys
from collections import namedtuple
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
from click.testing import CliRunner
from command import SMALL, maskmill, run
from examine import examine, states

from maskmill.deploy.cli import main
from maskmill.deploy.doctor import data as checks_data
from maskmill.deploy.doctor import installation as checks_installation
from maskmill.deploy.terminal.inputs import find_wrong_case
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.tokenizer.huggingface import to_tokenizer_json
from maskmill.tokenizer.vocab import Vocab


def test_this_installation_is_ok():
    result = maskmill("doctor")
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout.strip().splitlines()[-1].endswith(" ok, 0 warnings, 0 wrong")
    found = examine()
    assert states(found) == {"ok"}
    assert {check for check in found if not check.startswith("extra ")} == {"python", "packages", "machine"}
    assert f"apache-beam {importlib.metadata.version('apache-beam')}" in found["packages"][1]


def test_a_table_tells_what_is_wrong_and_what_helps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["doctor", "nowhere"])
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if "names no file" in line]
    assert " wrong " in line
    assert "give a file, a folder, or a pattern" in result.output
    assert result.output.strip().splitlines()[-1].endswith(" ok, 0 warnings, 1 wrong")


def test_a_package_that_is_too_old_is_wrong(monkeypatch):
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.26.4" if name == "numpy" else version(name))
    state, what, remedy = examine(exit_code=1)["package numpy"]
    assert (state, what, remedy) == ("wrong", "1.26.4 is installed; maskmill needs >=2", "pip install 'numpy>=2'")


@pytest.mark.parametrize(
    ("missing", "check", "finding"),
    [
        ("isal", "package isal", ("wrong", "is not installed", "pip install 'isal>=1.7'")),
        ("google-cloud-pubsub", "package apache-beam", ("wrong", "is installed without [gcp]: google-cloud-pubsub")),
        ("jax", "extra jax", ("ok", "not installed: jax", "if wanted, in maskmill's folder run: pip install '.[jax]'")),
        ("maskmill", "packages", ("wrong", "maskmill is not installed", "in maskmill's folder run: pip install .")),
    ],
)
def test_a_package_that_is_not_there_is_named(monkeypatch, missing, check, finding):
    of_name = importlib.metadata.Distribution.from_name

    def find(name: str) -> Any:
        if name == missing:
            raise PackageNotFoundError(name)
        return of_name(name)

    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", find)
    found = examine(exit_code=finding[0] == "wrong")[check]
    for part, expected in zip(found, finding):
        assert expected in part


def test_without_what_makes_tables_plain_lines_are_printed(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.table", None)
    result = CliRunner().invoke(main, ["doctor", "nowhere"])
    assert result.exit_code == 1
    assert "input nowhere: wrong: INPUT nowhere names no file: give a file, a folder, or" in result.output
    assert result.output.strip().splitlines()[-1].endswith(" ok, 0 warnings, 1 wrong")


def test_another_python_than_maskmill_needs_is_wrong(monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.9.18")
    state, what, remedy = examine(exit_code=1)["python"]
    assert (state, what) == ("wrong", "3.9.18; maskmill needs >=3.11")
    assert "virtual environment" in remedy


def test_a_small_machine_is_a_warning(monkeypatch):
    monkeypatch.setattr(checks_installation, "machine_memory", lambda: 400_000_000)
    assert examine()["machine"][0] == "warning"


def test_a_check_that_fails_itself_hides_no_other(monkeypatch, corpus_file):
    monkeypatch.setattr(checks_installation, "machine_memory", lambda: 1 / 0)
    found = examine(corpus_file, exit_code=1)
    assert found["machine"][:2] == ("wrong", "this check failed itself: ZeroDivisionError: division by zero")
    assert found["sample"][0] == "ok"


def test_a_run_that_is_all_right_is_ok_and_leaves_nothing_behind(tmp_path, corpus_file, small_vocab_file):
    before = sorted(corpus_file.parent.rglob("*"))
    output = tmp_path / "a" / "shards"
    found = examine(corpus_file, "--vocab-file", small_vocab_file, "--output", output)
    assert states(found) == {"ok"}
    assert found[f"input {corpus_file}"][1] == "1 file, 8.6 kB"
    assert found["sample"][1] == "40 of 40 documents can be used, in all of the input"
    assert found["vocabulary"][1] == "36 tokens"
    assert found["[UNK]"][1].startswith("0.00% of ")
    assert " with generate's defaults" in found["room"][1]
    assert list(tmp_path.iterdir()) == []
    assert sorted(corpus_file.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("content", "sentence", "remedy"),
    [
        ("[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n", "has no [MASK]", "train a vocabulary with 'maskmill vocab'"),
        ('{"model": {}}', "is JSON", "give the vocab.txt that belongs to it"),
        (None, "cannot be read (No such file or directory)", "train a vocabulary with 'maskmill vocab'"),
    ],
)
def test_a_wrong_vocabulary_is_wrong(tmp_path, corpus_file, content, sentence, remedy):
    if content is not None:
        (tmp_path / "v.txt").write_text(content)
    found = examine(corpus_file, "--vocab-file", tmp_path / "v.txt", "--output", tmp_path / "out", exit_code=1)
    assert found["vocabulary"][0] == "wrong"
    assert sentence in found["vocabulary"][1]
    assert remedy in found["vocabulary"][2]
    assert found["output"][0] == "ok"  # the checks after it are made, too
    assert not {"[UNK]", "room"} & set(found)  # what cannot be checked without it is left out


def test_a_vocabulary_of_another_text_is_a_warning(tmp_path, small_vocab_file):
    (tmp_path / "corpus.txt").write_text("many words unheard of\n\nthe dog ate quinces\n")
    state, what, remedy = examine(tmp_path / "corpus.txt", "--vocab-file", small_vocab_file)["[UNK]"]
    assert state == "warning"
    assert what.endswith("% of 8 tokens of the sample")
    assert "train one on it with 'maskmill vocab'" in remedy


def test_a_vocabulary_that_does_not_fit_cased_is_a_warning(tmp_path, small_vocab_file):
    capitals = tmp_path / "v.txt"
    capitals.write_text(small_vocab_file.read_text() + "London\n")
    assert "give --cased" in examine("--vocab-file", capitals)["vocabulary"][2]
    assert "leave --cased out" in examine("--vocab-file", small_vocab_file, "--cased")["vocabulary"][2]
    assert examine("--vocab-file", capitals, "--cased")["vocabulary"][0] == "ok"


def test_the_files_beside_a_vocabulary_say_whether_it_is_cased(tmp_path, small_vocab):
    file = tmp_path / "vocab.txt"
    file.write_text(small_vocab.to_text())
    for cased in (False, True):
        (tmp_path / "tokenizer.json").write_text(to_tokenizer_json(small_vocab, cased))  # as 'maskmill vocab' does
        assert find_wrong_case(str(file), small_vocab, cased) is None
        found, remedy = find_wrong_case(str(file), small_vocab, not cased)
        assert found.startswith(f"by the files beside {file}, the ")
        assert remedy == ("give --cased" if cased else "leave --cased out")
    (tmp_path / "tokenizer.json").write_text(to_tokenizer_json(Vocab([*small_vocab.tokens, "other"]), True))
    assert find_wrong_case(str(file), small_vocab, False) is None
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": false}')
    found, remedy = find_wrong_case(str(file), small_vocab, False)
    assert "the model's tokenizer has strip_accents false" in found
    assert remedy.startswith("train a vocabulary")


def test_inputs_that_hold_nothing_are_wrong_each_by_itself(tmp_path, corpus_file):
    (tmp_path / "empty.txt").touch()
    (tmp_path / "link.txt").symlink_to(tmp_path / "gone")
    found = examine(tmp_path / "no" / "*.txt", tmp_path / "empty.txt", tmp_path, corpus_file, exit_code=1)
    assert "names no file" in found[f"input {tmp_path / 'no' / '*.txt'}"][1]
    assert found[f"input {tmp_path / 'empty.txt'}"][:2] == ("wrong", "1 file, 0 bytes: nothing is in it")
    assert "link.txt cannot be read" in found[f"input {tmp_path}"][1]
    assert found[f"input {corpus_file}"][0] == "ok"
    assert found["sample"][0] == "ok"


@pytest.mark.parametrize(
    ("content", "sentence", "remedy"),
    [
        (
            b'{"body": "x"}\n{"body": "y"}\n',
            "0 of 2 documents can be used, in all of the input: 2 no field 'text'",
            "--text-",
        ),
        (b'{"text": "x"}\n{"text": "y"}\n{broken', "2 of 3 documents can be used", "fails where more than 1%"),
        (b"one line\nof one document\n", "1 of 1 document can be used", "give two documents or more"),
        (b"%PDF-1.7 and so on", "is no text but a PDF, by its content", "convert it"),
        (b"\x1f\x8b\x08\x00\x00\x00", "is cut off or damaged near byte 6 of 6", "copy or download it again"),
    ],
)
def test_documents_that_cannot_be_used_are_wrong(tmp_path, content, sentence, remedy):
    (tmp_path / "input").write_bytes(content)
    state, *told = examine(tmp_path / "input", exit_code=1)["sample"]
    assert state == "wrong"
    assert sentence in told[0]
    assert remedy in " ".join(told)


def test_text_in_another_field_is_read_when_it_is_named(tmp_path):
    (tmp_path / "input").write_text('{"body": "x"}\n{"body": "y"}\n')
    assert examine(tmp_path / "input", "--text-field", "body")["sample"][0] == "ok"


def test_an_output_that_holds_something_is_a_warning(tmp_path, corpus_file, small_vocab_file):
    output = tmp_path / "out"
    run("generate", corpus_file, "--vocab-file", small_vocab_file, "--output", output, *SMALL)
    before = {path: path.stat().st_mtime_ns for path in [output, *output.rglob("*")]}
    state, what, remedy = examine("--output", output)["output"]
    assert (state, what) == ("warning", f"{output} holds a dataset")
    assert "--overwrite" in remedy
    assert {path: path.stat().st_mtime_ns for path in [output, *output.rglob("*")]} == before
    Unfinished(str(tmp_path / "begun")).start({})
    assert examine("--output", tmp_path / "begun")["output"][1].endswith("holds an unfinished run")


def test_an_output_that_cannot_be_written_is_wrong(tmp_path, corpus_file):
    (tmp_path / "file").touch()
    found = examine(corpus_file, "--output", tmp_path / "file" / "out", exit_code=1)
    assert "cannot be written to" in found["output"][1]
    found = examine(corpus_file, "--output", corpus_file.parent / "out")  # beside the only file, which is named
    assert found["output"][0] == "ok"
    found = examine(corpus_file.parent, "--output", corpus_file.parent / "out", exit_code=1)
    assert "would be read as text" in found[f"place of {corpus_file.parent / 'out'}"][1]


def test_a_disk_without_room_is_a_warning(tmp_path, corpus_file, small_vocab_file, monkeypatch):
    usage = namedtuple("usage", ["free"])
    monkeypatch.setattr(checks_data.shutil, "disk_usage", lambda _: usage(100))
    found = examine(corpus_file, "--vocab-file", small_vocab_file, "--output", tmp_path / "out")
    assert found["room"][0] == "warning"
    assert "--dupe-factor" in found["room"][2]


def test_paths_stay_as_they_are_in_the_table(tmp_path, monkeypatch):
    name = f"[red]{'corpus' * 8}[/]"
    result = CliRunner(env={"COLUMNS": "300"}).invoke(main, ["doctor", name])
    assert name in result.output
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["doctor", name])
    assert result.exit_code == 1
    assert "…" not in result.output


def test_a_place_without_a_bucket_is_wrong():
    result = CliRunner().invoke(main, ["doctor", "gs://"])
    assert result.exit_code == 1
    assert "names no bucket" in result.output
