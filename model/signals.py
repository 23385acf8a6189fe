"""Ctrl-C and SIGTERM, put off until a step is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Signals:
    """The signal that has come, if one has."""

    got: signal.Signals | None = None


@contextmanager
def signals_deferred() -> Iterator[Signals]:
    """Within it, Ctrl-C and SIGTERM are only noted: in the middle of a step, half of the state would be new.

    A second Ctrl-C, or SIGTERM, acts as ever.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():  # where no signal ever arrives
        yield signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # One that is ignored, as in the background of a script, stays so.
    deferred = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]

    def note(number: int, _frame: object) -> None:
        signals.got = signal.Signals(number)
        signal.signal(number, before[signals.got])

    for number in deferred:
        signal.signal(number, note)
    try:
        yield signals
    finally:
        for number in deferred:
            signal.signal(number, before[number])
