"""The temporary files of a command and of its worker processes: all in one folder, removed also after a kill.

Beam and Python's multiprocessing leave folders of their own where a process is killed. So each command sets TMPDIR to a
folder that it makes and locks. The system releases the lock with the process; the next command removes the folders that
nobody has locked.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.util import Finalize

from maskmill.deploy.terminal.messages import warn
from maskmill.pipeline.storage.mirror import UNSENT

PREFIX = "maskmill-"
MARK = ".locked-by-its-process"  # by which a folder is known as ours
AFTER_MULTIPROCESSING = -200  # it removes its own folder, which is in ours, with -100
_NAME = re.compile(rf"{PREFIX}\w+", re.ASCII)


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Within it, temporary files of this process, and of those that it starts, are in a folder that ends with it.

    Where no folder can be made or locked, as on a read-only disk, all stays as it is: not every command needs one.
    """
    wanted = os.environ.get("TMPDIR")
    try:
        base = tempfile.gettempdir()
        if wanted and os.path.abspath(wanted) != base:
            warn(f"TMPDIR is {wanted}, where no file can be written; temporary files go to {base}.")
        folder = _folder_of_process(base)
    except OSError:
        yield
        return
    before = tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = before
        if wanted is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = wanted


@cache
def _folder_of_process(base: str) -> str:
    """A new folder in `base`, locked by this process and removed at its end; removes those of dead processes."""
    with suppress(OSError):
        remove_abandoned(base)
    while True:
        folder = tempfile.mkdtemp(prefix=PREFIX, dir=base)
        mark = os.path.join(folder, MARK)
        try:
            _lock(mark, os.O_CREAT)
        except (FileNotFoundError, BlockingIOError):  # another process took it for abandoned, before its lock
            continue
        except OSError:
            _remove(folder)
            raise
        if os.path.exists(mark):
            Finalize(None, _remove, (folder,), exitpriority=AFTER_MULTIPROCESSING)
            return folder


def remove_abandoned(base: str) -> None:
    """Removes the folders of commands of this user that are dead, which is what the locks say."""
    for entry in os.scandir(base):
        if not _NAME.fullmatch(entry.name):
            continue
        with suppress(OSError):  # it is gone, or another user's, or its process lives
            if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                lock = _lock(os.path.join(entry.path, MARK))
                _remove(entry.path)
                os.close(lock)


def _lock(path: str, flags: int = 0) -> int:
    """Locks a file until the process ends, or what is returned is closed. Raises OSError where it cannot."""
    file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _remove(folder: str) -> None:
    """Removes a folder of ours, but for what is kept for the user in it."""
    with suppress(OSError):
        kept = False
        for entry in os.scandir(folder):
            if entry.name == MARK:
                continue
            if os.path.exists(os.path.join(entry.path, UNSENT)):
                kept = True
            elif entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)
        if not kept:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, MARK))
            os.rmdir(folder)
