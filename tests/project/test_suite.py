"""The suite itself, where it is started by other means than a terminal's."""

import os
import signal
import subprocess

import pytest
from places import ROOT
from signals import handle_ignored_signals

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@pytest.fixture
def ignored():
    """Signals that are ignored, as by nohup."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in IGNORED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ignored_in_a_new_process() -> int:
    """The mask of the signals that a new process ignores."""
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
    return int(status.partition("SigIgn:")[2].split()[0], 16)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_signals_ignored_where_the_suite_was_started_are_not_ignored_by_the_commands_it_starts(ignored):
    bits = sum(1 << (number - 1) for number in IGNORED)
    assert ignored_in_a_new_process() & bits == bits
    handle_ignored_signals()
    assert ignored_in_a_new_process() & bits == 0


def test_ctrl_c_interrupts_a_test_where_the_suite_was_started_in_the_background(ignored):
    handle_ignored_signals()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_no_command_is_forked_from_a_process_in_which_grpc_may_run():
    """With a preexec_fn, Python forks; without, it uses vfork, and gRPC's handlers of forks are not called."""
    code = [path for folder in ("tests", "tokenizer", "pipeline", "model", "deploy", "benchmarks")
            for path in (ROOT / folder).rglob("*.py")]  # fmt: skip
    argument = "preexec_" + "fn="
    assert [str(path) for path in code if argument in path.read_text()] == []
