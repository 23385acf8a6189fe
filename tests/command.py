"""The command line in a process of its own, for the tests that need it whole."""

import os
import resource
import subprocess
import sys

SMALL = ["--max-seq-length", "32", "--max-predictions-per-seq", "5", "--dupe-factor", "2"]


def maskmill(*arguments: object, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own, as a user would; `largest_file` bytes make a full disk."""

    def limit_files() -> None:
        if largest_file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.run(
        [sys.executable, "-c", "from deploy.cli import main; main(prog_name='maskmill')", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
        preexec_fn=limit_files,
    )


def assert_refused(result: subprocess.CompletedProcess[str], *parts: str, exit_code: int = 1) -> None:
    """One sentence, the exit code, no traceback."""
    assert result.returncode == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("Error: ")
    for part in parts:
        assert part in message
