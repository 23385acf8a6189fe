"""The command line: in a process of its own, as a user runs it, or in this one, where Keras is loaded once."""

import os
import subprocess
import sys
from contextlib import ExitStack, redirect_stdout, suppress

import pytest
from click.testing import CliRunner

from maskmill.deploy.cli import main

SMALL = ["--max-seq-length", "32", "--max-predictions-per-seq", "5", "--dupe-factor", "2"]
SMALL_BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
SMALL_TRAIN = ["--train-batch-size", "8", "--num-train-steps", "6", "--save-checkpoints-steps", "3"]


def maskmill(*arguments: object, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own, as a user would; `largest_file` bytes make a full disk."""

    code = "from maskmill.deploy.cli import main; main(prog_name='maskmill')"
    if largest_file:  # set by the process itself: a preexec_fn would fork this one, beside the threads of Beam's gRPC
        limits = f"({largest_file}, {largest_file})"
        code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, {limits}); {code}"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def assert_refused(result: subprocess.CompletedProcess[str], *parts: str, exit_code: int = 1) -> None:
    """One sentence, the exit code, no traceback."""
    assert result.returncode == exit_code, result.stderr
    assert "Traceback" not in result.stderr
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("Error: ")
    for part in parts:
        assert part in message


def run(*arguments: object) -> str:
    """The output of a command that succeeds, run in this process."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


def refuse(*arguments: object, exit_code: int = 1) -> str:
    """The last line of a command that is refused, run in this process."""
    result = CliRunner(env={"COLUMNS": "200"}).invoke(main, list(map(str, arguments)))
    assert result.exit_code == exit_code, result.output
    assert "Traceback" not in result.output
    return result.output.strip().splitlines()[-1]


def run_unread(*arguments: object) -> int:
    """The exit code of a command, run in this process, whose reader is gone, as with `| true`."""
    reader, writer = os.pipe()
    os.close(reader)
    with ExitStack() as stack:
        end = stack.enter_context(pytest.raises(SystemExit))
        stack.enter_context(suppress(BrokenPipeError))  # of what the stream still holds
        stack.enter_context(redirect_stdout(stack.enter_context(os.fdopen(writer, "w"))))
        main(list(map(str, arguments)), prog_name="maskmill")
    return int(end.value.code or 0)
