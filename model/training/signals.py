"""Ctrl-C, SIGTERM and SIGHUP, put off until a step is whole."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass
class Signals:
    """The signal that has come, if one has."""

    got: signal.Signals | None = None


@contextmanager
def signals_deferred() -> Iterator[Signals]:
    """Within it, Ctrl-C, SIGTERM and SIGHUP (a terminal that is closed) are told of on stderr, and noted.

    No more than that: in the middle of a step, half of the state would be new. A second one acts as ever, as soon as
    what is computed lets Python come to it.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():  # where no signal ever arrives
        yield signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    # One that is ignored, as in the background of a script, stays so.
    deferred = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]

    def note(number: int, _frame: object) -> None:
        signals.got = signal.Signals(number)
        signal.signal(number, before[signals.got])
        told = f"{signals.got.name}: stopping after the step at hand and its checkpoint; a second one ends it without"
        with suppress(OSError):  # of a terminal that is gone
            os.write(2, f"\n{told}\n".encode())  # a stream may be in the middle of a line of its own

    for number in deferred:
        signal.signal(number, note)
    try:
        yield signals
    finally:
        for number in deferred:
            signal.signal(number, before[number])


@contextmanager
def signals_end_at_once() -> Iterator[None]:
    """Within it, Ctrl-C, SIGTERM and SIGHUP end the process, where a KeyboardInterrupt might get lost.

    It does while large libraries are imported, which run code of ours where no error can be raised. What was ignored
    stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handled = {number: handler for number, handler in before.items() if callable(handler)}
    for number in handled:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
