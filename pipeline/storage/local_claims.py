"""Files of this machine that appear whole, and that one process at a time writes: temporary names, locks, claims."""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from maskmill.pipeline.storage.refusals import already_exists, not_empty, written_meanwhile
from maskmill.tokenizer.errors import InputError

TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{32}\.tmp")  # of what is not finished, by its own name
LONG_NAME_BYTES = 200  # a longer name leaves no room for what a temporary name adds to it; a file system takes 255
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)


@contextmanager
def file_errors(path: str, done: str = "read", way_out: str = "check the path and its permissions") -> Iterator[None]:
    """Raises what goes wrong with a file as InputError; `done` is what was to be done with it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise  # from what is read or written, not from the file
        raise InputError(f"cannot be {done} ({error.strerror})", way_out=way_out, path=path) from error


def make_folder(folder: str) -> None:
    """As `Store.make_folder`."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be made ({error.strerror})", way_out="check the path and its permissions", path=folder
        ) from error


def version_of(path: str) -> str:
    """As `Store.version_of`. Raises OSError."""
    status = os.stat(path)
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


def version_if_there(path: str) -> str | None:
    """As `version_of`; None when there is no such file."""
    return version_of(path) if os.path.exists(path) else None


def way_out_of_no_room(path: str) -> str:
    """What to do when there is no room for a file."""
    if is_temporary(path):
        return "make room for temporary files, or set TMPDIR to a folder with more"
    return "make room, or give another output"


def new_temporary(path: str) -> str:
    """A name for a file while it is not finished, beside its own: hidden, and it ends in .tmp."""
    return _hidden_name(path, f"{uuid.uuid4().hex}.tmp")


def _hidden_name(path: str, suffix: str) -> str:
    folder, name = os.path.split(path)
    if len(os.fsencode(name)) > LONG_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return os.path.join(folder, f".{name}.{suffix}")


def is_temporary(path: str) -> bool:
    """Whether a file lies in the folder for temporary files in one of ours, and is none of the user's."""
    folder = os.path.join(tempfile.gettempdir(), "maskmill-")
    return os.path.abspath(path).startswith(folder)


def remove_file(path: str) -> None:
    """Removes a file, if that is possible."""
    with suppress(OSError):  # not there, or the disk is read-only
        os.unlink(path)


def remove_empty(folders: Sequence[str]) -> None:
    """Removes folders up to the first that is not empty."""
    with suppress(OSError):  # not empty
        for folder in folders:
            os.rmdir(folder)


class LocalClaim:
    """Files that this process alone writes, see `Claim`."""

    def __init__(self, stack: ExitStack, versions: dict[str, str | None]):
        self._stack = stack
        self._versions = versions  # of what is to be replaced; None where there was no file

    @contextmanager
    def create_file(self, path: str) -> Iterator[BinaryIO]:
        """As `Claim.create_file`."""
        # The temporary name stays until the claim ends: a file with two names tells that a process was killed
        # between the first and the last file of its claim.
        target = os.path.realpath(path)
        temporary = new_temporary(target)
        self._stack.callback(remove_file, temporary)
        with file_errors(path, "written", "make room, or give another output"):
            with open(temporary, "wb") as file:
                yield file
            if version_if_there(target) != self._versions[path]:
                raise written_meanwhile(path)
            if self._versions[path] is not None:
                os.replace(temporary, target)
            else:
                _link(temporary, target)
                self._stack.push(lambda kind, *_: remove_file(target) if kind else None)


def _link(temporary: str, path: str) -> None:
    """Gives a file its name, unless there is one of that name."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise written_meanwhile(path) from error
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        os.replace(temporary, path)


@contextmanager
def claim_files(paths: Sequence[str], overwrite: bool) -> Iterator[LocalClaim]:
    """As `Store.claim_files`: with a lock for each file."""
    with ExitStack() as stack:
        targets = {path: os.path.realpath(path) for path in paths}  # what a link names is replaced, not the link
        for path, target in targets.items():
            if os.path.exists(path) and not os.path.isfile(path):
                raise InputError(f"output {path} is a folder or a device", way_out="give the name of a file")
            with file_errors(path, "written"):
                stack.callback(remove_empty, _make_folders(os.path.dirname(target)))
                stack.enter_context(_locked(_hidden_name(target, "lock"), path))
        with file_errors(paths[0], "written"):
            _remove_leftovers(list(targets.values()))
            versions = {path: version_if_there(target) for path, target in targets.items()}
        for path, version in versions.items():
            if version and not overwrite:
                raise already_exists(path)
        yield LocalClaim(stack, versions)


@contextmanager
def claim_folder(folder: str) -> Iterator[None]:
    """As `Store.claim_folder`: with a lock."""
    with ExitStack() as stack:
        with file_errors(folder, "written"):
            made = _make_folders(folder)
            stack.enter_context(_locked(folder, folder))
            stack.callback(remove_empty, made)
        yield


def _make_folders(folder: str) -> list[str]:
    """Makes a folder and those above it, as far as they are not there; returns those, the deepest first."""
    missing, place = [], os.path.abspath(folder)
    while not os.path.lexists(place):
        missing.append(place)
        place = os.path.dirname(place)
    make_folder(folder)
    return missing


@contextmanager
def _locked(lock: str, path: str) -> Iterator[None]:
    """Holds a lock for `path`, where the file system has locks; the system releases it when the process ends.

    The lock is a folder, or a file that is there only meanwhile. Raises InputError where another process holds it.
    """
    with ExitStack() as stack:
        stack.callback(os.close, _open_locked(lock, path))
        if lock != path:
            stack.callback(remove_file, lock)
        yield


def _open_locked(lock: str, path: str) -> int:
    while True:
        make_folder(lock if lock == path else os.path.dirname(lock) or ".")
        handle = os.open(lock, os.O_RDONLY if lock == path else os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise InputError(
                f"another process is writing {path}", way_out="wait until it ends, or give another output"
            ) from error
        except OSError:
            return handle  # as on some network disks, which have no locks
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                return handle
        os.close(handle)  # the process that had the lock removed it in between


def _remove_leftovers(paths: Sequence[str]) -> None:
    """Removes what a process left of files that it claimed and was killed: unless all were written, the files, too."""
    temporaries = {path: _temporaries_of(path) for path in paths}
    unfinished = [
        path for path in paths if any(os.path.exists(path) and os.path.samefile(path, t) for t in temporaries[path])
    ]
    if all(path in unfinished or not os.path.exists(path) for path in paths):
        for path in unfinished:
            os.unlink(path)
    for temporary in chain.from_iterable(temporaries.values()):
        os.unlink(temporary)


def _temporaries_of(path: str) -> list[str]:
    folder, prefix = os.path.split(_hidden_name(path, ""))
    names = [name for name in os.listdir(folder) if name.startswith(prefix) and TEMPORARY.fullmatch(name)]
    return [os.path.join(folder, name) for name in names]


@contextmanager
def create_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled; what is written appears in it when all is whole, and not at all after an error.

    The files are written into a folder below it, and get their names at the end. Only this process writes into it
    meanwhile. Raises InputError when there is one that is not empty.
    """
    folder = os.fspath(path)
    with claim_folder(folder):
        require_empty(folder)
        _remove_unfinished(folder)
        unfinished = os.path.join(folder, f".maskmill.{uuid.uuid4().hex}.tmp")
        os.mkdir(unfinished)
        try:
            yield Path(unfinished)
            if len(os.listdir(folder)) > 1:
                raise written_meanwhile(folder)
            for name in sorted(os.listdir(unfinished), key=lambda name: _changed_at(os.path.join(unfinished, name))):
                _link(os.path.join(unfinished, name), os.path.join(folder, name))
        except BaseException as error:
            _remove_unfinished(folder)
            if isinstance(error, OSError) and error.errno in NO_ROOM:  # what fills it may not say which file it was
                raise InputError(
                    f"cannot be written ({error.strerror})", way_out=way_out_of_no_room(folder), path=folder
                ) from error
            raise
        shutil.rmtree(unfinished, ignore_errors=True)


def require_empty(folder: str) -> None:
    """As `Store.require_empty`; what `create_folder` did not finish is nothing."""
    if os.path.isdir(folder):
        names = [name for name in os.listdir(folder) if not TEMPORARY.fullmatch(name)]
        if set(names) <= set(names_of_unfinished(folder)):
            return
    elif not os.path.lexists(folder):
        return
    raise not_empty(folder)


def _changed_at(path: str) -> int:
    return os.stat(path).st_mtime_ns


def _remove_unfinished(folder: str) -> None:
    """Removes what `create_folder` left in a folder and did not finish: its files have two names."""
    for name in names_of_unfinished(folder):
        os.unlink(os.path.join(folder, name))
    for name in os.listdir(folder):
        if TEMPORARY.fullmatch(name):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def names_of_unfinished(folder: str) -> list[str]:
    """The names in a folder of the files that have a second name in one of its temporary folders."""
    temporaries = [os.path.join(folder, name) for name in os.listdir(folder) if TEMPORARY.fullmatch(name)]
    return [
        name
        for temporary in temporaries
        if os.path.isdir(temporary)
        for name in os.listdir(temporary)
        if os.path.exists(os.path.join(folder, name))
        and os.path.samefile(os.path.join(temporary, name), os.path.join(folder, name))
    ]
