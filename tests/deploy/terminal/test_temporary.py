"""Temporary folders: one for each process, removed after it however it ends, and no other's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from maskmill.deploy.terminal.command import Command
from maskmill.deploy.terminal.temporary import MARK, remove_abandoned
from maskmill.pipeline.storage.mirror import UNSENT

# A process that makes its folder, says so, and is killed.
KILLED = """
import os, signal, tempfile
from maskmill.deploy.terminal.temporary import own_temporary_folder
with own_temporary_folder():
    tempfile.mkdtemp(prefix="beam-pipeline-temp")
    print(tempfile.gettempdir(), os.environ["TMPDIR"], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def make_folder(base: Path, name: str = "maskmill-abcdefgh", mark: str = MARK) -> Path:
    """What a process that is dead has left."""
    folder = base / name
    (folder / "beam-pipeline-temp0").mkdir(parents=True)
    (folder / "beam-pipeline-temp0" / "file").touch()
    (folder / mark).touch()
    return folder


def test_the_folder_of_a_killed_process_holds_all_it_left_and_is_removed_by_the_next(tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True
    )
    (left,) = tmp_path.iterdir()
    assert killed.stdout.split() == [str(left)] * 2, killed.stderr
    assert len(list(left.iterdir())) == 2
    remove_abandoned(str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_living_process_stays(tmp_path):
    waits = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", "input()")
    process = subprocess.Popen(
        [sys.executable, "-c", waits],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline()
    remove_abandoned(str(tmp_path))
    assert len(list(tmp_path.glob("maskmill-*/*"))) == 2
    process.communicate("\n")
    assert not list(tmp_path.iterdir())  # at its end it goes by itself


def test_what_is_not_ours_stays(tmp_path, monkeypatch):
    (tmp_path / "maskmill-notebooks").mkdir()
    (tmp_path / "maskmill-file").touch()
    other = make_folder(tmp_path / "elsewhere")
    (tmp_path / "maskmill-link").symlink_to(other)
    make_folder(tmp_path, "pymp-abcdefgh")
    before = sorted(tmp_path.rglob("*"))
    remove_abandoned(str(tmp_path))
    assert sorted(tmp_path.rglob("*")) == before
    folder = make_folder(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)  # root may remove the folders of others
    remove_abandoned(str(tmp_path))
    assert folder.exists()


def test_a_folder_with_what_could_not_be_sent_stays(tmp_path):
    folder = make_folder(tmp_path)
    (folder / "maskmill-mirror").mkdir()
    (folder / "maskmill-mirror" / UNSENT).touch()
    (folder / "maskmill-mirror" / "checkpoint-7.safetensors").touch()
    remove_abandoned(str(tmp_path))
    assert {path.name for path in folder.iterdir()} == {MARK, "maskmill-mirror"}
    assert len(list((folder / "maskmill-mirror").iterdir())) == 2


@pytest.mark.parametrize("made", [True, False])
def test_a_command_goes_on_where_tmpdir_cannot_be_used_and_says_so(tmp_path, monkeypatch, capsys, made):
    wanted = tmp_path / "wanted"
    if made:
        wanted.mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(wanted))
    Command("look", callback=lambda: print("done"), params=[])([], standalone_mode=False)
    printed = capsys.readouterr()
    assert printed.out == "done\n"
    assert ("where no file can be written; temporary files go to" in printed.err) == (not made)
    assert os.environ["TMPDIR"] == str(wanted)
