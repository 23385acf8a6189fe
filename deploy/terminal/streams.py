"""The standard streams of a command: closed, on a full disk, or with a reader that is gone."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast


class LastingOutput:
    """A stream that, once its reader is gone or its disk is full, takes what is written and writes it nowhere."""

    def __init__(self, stream: TextIO | None):
        # None where a process was started without one; then this lasts as long as the process.
        self.stream = stream or open(os.devnull, "w")  # noqa: SIM115

    def write(self, text: str) -> int:
        """Writes, or goes quiet."""
        try:
            return self.stream.write(text)
        except OSError:
            go_quiet(self.stream)
            return len(text)

    def flush(self) -> None:
        """Flushes, or goes quiet."""
        try:
            self.stream.flush()
        except OSError:
            go_quiet(self.stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def go_quiet(stream: TextIO) -> None:
    """Sends a stream nowhere from here on, with what it still holds, which Python flushes at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def find_lost_output() -> OSError | None:
    """What is wrong with stdout, where nothing more can be written there; what is printed goes nowhere from here on."""
    try:
        sys.stdout.write("\n")  # what could not be written before, is forgotten by now
        sys.stdout.flush()
    except OSError as error:
        go_quiet(sys.stdout)
        return error
    return None


@contextmanager
def safe_streams() -> Iterator[None]:
    """Within it, all three streams are open, and messages on stderr stop nothing where they cannot be written."""
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        try:
            os.fstat(number)
        except OSError:  # it was closed; the next file to be opened would be taken for it
            assert os.open(os.devnull, os.O_RDWR) == number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a path may be no text
    before = sys.stderr
    sys.stderr = cast(TextIO, LastingOutput(before))
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
