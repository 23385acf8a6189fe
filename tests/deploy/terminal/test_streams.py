"""Standard streams that are closed, or on a full disk: one sentence or none, and the work is done."""

import errno
import subprocess
import sys

import pytest

from maskmill.deploy.cli import find_sentence
from maskmill.deploy.terminal.messages import print_json
from maskmill.deploy.terminal.streams import LastingOutput

# The command, whose `inspect` prints a result and a warning, and opens a file between.
INSPECT = """
import maskmill.deploy.datasets.inspection
from maskmill.deploy.terminal.messages import print_json, warn
def inspect_dataset(*_, **__):
    warn("a warning")
    with open("/dev/null") as file:
        assert file.fileno() > 2
    print_json({"path": "bad\\udcff"})
maskmill.deploy.datasets.inspection.inspect_dataset = inspect_dataset
from maskmill.deploy.cli import main
main(["inspect", "x"])
"""


def inspect(redirections: str) -> subprocess.CompletedProcess[str]:
    """Runs the command by a shell."""
    command = ["sh", "-c", f'exec "$0" -c "$1" {redirections}', sys.executable, INSPECT]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("redirections", "exit_code", "stdout", "stderr"),
    [
        ("<&- >&- 2>&-", 0, "", ""),
        ("2>/dev/full", 0, '{\n "path": "bad\\udcff"\n}\n', ""),
        (
            ">/dev/full",
            1,
            "",
            "a warning\nError: the output cannot be written (No space left on device); make room, or send it to "
            "another place\n",
        ),
    ],
)
def test_closed_and_full_streams(redirections, exit_code, stdout, stderr):
    result = inspect(redirections)
    assert (result.returncode, result.stdout, result.stderr) == (exit_code, stdout, stderr)


def test_a_full_disk_without_a_name_is_that_of_temporary_files():
    sentence = find_sentence(OSError(errno.ENOSPC, "No space left on device"))
    assert sentence
    assert sentence.startswith("a temporary file cannot be written (No space left on device); make room in ")
    assert find_sentence(OSError(errno.EBADF, "Bad file descriptor")) is None  # a bug


def test_a_lasting_output_takes_everything_once_its_disk_is_full():
    with open("/dev/full", "w") as full:
        output = LastingOutput(full)
        assert output.write("a" * 100_000) == 100_000
        output.flush()
        output.write("b")
        output.flush()


def test_json_escapes_what_is_no_utf8(capsys):
    print_json("bad\udcff")
    assert capsys.readouterr().out == '"bad\\udcff"\n'
