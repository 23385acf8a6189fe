"""What Ctrl-C, SIGTERM and SIGHUP do to a training, and the first two to an import."""

import errno
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from fake_steps import LAST, at, die, learn
from fake_steps import datasets as datasets  # a fixture
from fake_steps import steps as steps  # a fixture

from maskmill.model.training.checkpoint import list_checkpoints
from maskmill.model.training.signals import signals_end_at_once


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def each_signal(request):
    before = signal.getsignal(request.param)
    yield request.param
    signal.signal(request.param, before)


def test_a_second_signal_acts_as_ever(steps, datasets, tmp_path, each_signal):
    def raise_twice():
        signal.raise_signal(each_signal)
        signal.raise_signal(each_signal)

    signal.signal(each_signal, lambda *_: die())
    steps.in_step = at(2, raise_twice)
    with pytest.raises(SystemExit):
        learn(datasets, tmp_path)
    assert not list_checkpoints(tmp_path)
    with pytest.raises(SystemExit):  # handlers are put back
        signal.raise_signal(each_signal)


def test_an_ignored_signal_is_ignored(steps, datasets, tmp_path, each_signal):
    signal.signal(each_signal, signal.SIG_IGN)  # as of Ctrl-C in the background of a script
    steps.in_step = at(2, lambda: signal.raise_signal(each_signal))
    assert learn(datasets, tmp_path) == LAST


def test_a_signal_is_answered_at_once_even_if_the_step_is_long(steps, datasets, tmp_path, each_signal, capfd):
    told = []

    def stop():
        signal.raise_signal(each_signal)
        told.append(capfd.readouterr().err)

    steps.in_step = at(2, stop)
    with suppress(KeyboardInterrupt):
        learn(datasets, tmp_path)
    assert f"{each_signal.name}: stopping after the step at hand" in told[0]
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2]


def test_a_terminal_that_is_gone_does_not_keep_a_training_from_its_checkpoint(steps, datasets, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("maskmill.model.training.signals.os.write", fail)
    steps.in_step = at(2, lambda: signal.raise_signal(signal.SIGHUP))
    assert learn(datasets, tmp_path) == 2
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_an_import_ends_the_process_whatever_catches_errors(number):
    code = f"""
import signal
from maskmill.model.training.signals import signals_end_at_once
def stop(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
with signals_end_at_once():
    try:
        signal.raise_signal({int(number)})
    except BaseException:
        print("lost")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (-number, "")


def test_after_an_import_signals_act_as_before(each_signal):
    def note(*_):
        pass

    signal.signal(each_signal, note)
    with signals_end_at_once():
        pass
    assert signal.getsignal(each_signal) is note


def test_ctrl_c_ends_a_training_after_a_checkpoint(steps, datasets, tmp_path):
    steps.in_step = at(2, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        learn(datasets, tmp_path)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2]
