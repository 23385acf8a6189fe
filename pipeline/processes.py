"""Worker processes of this machine, forked from a process that has loaded what they need."""

import multiprocessing
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext
from multiprocessing.util import get_temp_dir

LONGEST_FOLDER = 75  # bytes: the path of a socket has 107 at the most, and Python's names in it have 32
# What starting a process raises where the one that it is forked from was killed meanwhile.
LOST = (EOFError, ConnectionError)


def fork_server(preload: Sequence[str] = ()) -> ForkServerContext:
    """What starts worker processes, which find some modules loaded; it gets ready while this process goes on."""
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        before, tempfile.tempdir = tempfile.tempdir, "/tmp"
        get_temp_dir()  # where sockets will be, whatever TMPDIR is
        tempfile.tempdir = before
    # Of a process of Python's own that was killed; it is started anew.
    warnings.filterwarnings("ignore", "resource_tracker: process died unexpectedly")
    context = multiprocessing.get_context("forkserver")
    if preload:
        context.set_forkserver_preload(list(preload))
    with hold_back_stderr():  # what goes wrong in a worker is raised by the process that started it
        forkserver.ensure_running()
    return context


def begin_worker() -> None:
    """What a worker process does first: it leaves Ctrl-C to the process that started it, and ends with that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the starter ends the others
    threading.Thread(target=_end_with_starter, daemon=True).start()


def _end_with_starter() -> None:
    starter = multiprocessing.parent_process()
    assert starter
    wait([starter.sentinel])
    os._exit(1)


@contextmanager
def hold_back_stderr() -> Iterator[None]:
    """Keeps back what libraries write to stderr in processes that are started; what is raised there comes through."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
