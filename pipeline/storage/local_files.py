"""Files of this machine, for `storage`, whose functions say what these do."""

import errno
import fcntl
import glob
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

from maskmill.tokenizer.errors import InputError

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")  # the name of a file or folder that is not finished
LONG_NAME_BYTES = 200  # a longer name leaves no room for what a temporary name adds to it; a file system takes 255
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)


def find_files(name: str) -> list[str]:
    """As in `storage`."""
    if os.path.isdir(name):
        return list(_walk(name))
    if os.path.isfile(name):
        return [name]
    if os.path.exists(name):
        raise InputError(
            f"INPUT {name} is a pipe or a device", way_out="it is read more than once, so write it to a file first"
        )
    return [path for path in glob.glob(name, recursive=True) if os.path.isfile(path)]


def _walk(folder: str) -> Iterator[str]:
    """The files below a folder and those that it links to, but for hidden ones."""

    def refuse(error: OSError) -> None:
        raise InputError(f"INPUT {error.filename} cannot be listed ({error.strerror})", way_out="check its permissions")

    seen: set[str] = set()  # a link may lead back
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths = (os.path.join(place, name) for name in names if not name.startswith("."))
        yield from (path for path in paths if os.path.isfile(path) or os.path.islink(path))


def list_names(folder: str) -> list[str]:
    """As in `storage`."""
    if not os.path.isdir(folder):
        return []
    with _one_sentence(folder):
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())


def exists(path: str) -> bool:
    """As in `storage`."""
    return os.path.exists(path)


def size_of(path: str) -> int:
    """As in `storage`."""
    with _one_sentence(path):
        return os.path.getsize(path)


def version_of(path: str) -> str:
    """As in `storage`."""
    with _one_sentence(path):
        return _version(os.stat(path))


def current_version(path: str) -> str | None:
    """As in `storage`."""
    return version_of(path) if os.path.exists(path) else None


def _version(status: os.stat_result) -> str:
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


@contextmanager
def open_file(path: str, version: str | None) -> Iterator[BinaryIO]:
    """As in `storage`."""
    with _one_sentence(path), open(path, "rb") as file:
        _require_version(path, version)
        yield file
        _require_version(path, version)


def _require_version(path: str, version: str | None) -> None:
    if version and _version(os.stat(path)) != version:
        raise InputError("changed while it was read", way_out="run this again when nothing writes to it", path=path)


@contextmanager
def create_file(path: str) -> Iterator[BinaryIO]:
    """As in `storage`. An unfinished file has a hidden name that ends in .tmp."""
    temporary = _new_temporary(path)
    try:
        with _one_sentence(path, "written", _way_out(path)):
            with open(temporary, "wb") as file:
                yield file
            os.replace(temporary, path)
    finally:
        _remove_file(temporary)


def _way_out(path: str) -> str:
    if is_temporary(path):
        return "make room for temporary files, or set TMPDIR to a folder with more"
    return "make room, or give another output"


def _new_temporary(path: str) -> str:
    return _hidden_name(path, f"{uuid.uuid4().hex}.tmp")


def _hidden_name(path: str, suffix: str) -> str:
    folder, name = os.path.split(path)
    if len(os.fsencode(name)) > LONG_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return os.path.join(folder, f".{name}.{suffix}")


class Claim:
    """Files that this process alone writes, see `storage.claim_files`."""

    def __init__(self, stack: ExitStack, versions: dict[str, str | None]):
        self._stack = stack
        self._versions = versions  # of what is to be replaced; None where there was no file

    @contextmanager
    def create_file(self, path: str) -> Iterator[BinaryIO]:
        """As in `storage.create_file`, but replaces only the file that was there at the beginning."""
        # The temporary name stays until the claim ends: a file with two names tells that a process was killed
        # between the first and the last file of its claim.
        target = os.path.realpath(path)
        temporary = _new_temporary(target)
        self._stack.callback(_remove_file, temporary)
        with _one_sentence(path, "written", "make room, or give another output"):
            with open(temporary, "wb") as file:
                yield file
            if _version_if_there(target) != self._versions[path]:
                raise _was_written(path)
            if self._versions[path] is not None:
                os.replace(temporary, target)
            else:
                _link(temporary, target)
                self._stack.push(lambda kind, *_: _remove_file(target) if kind else None)


def _version_if_there(path: str) -> str | None:
    return _version(os.stat(path)) if os.path.exists(path) else None


def _was_written(path: str) -> InputError:
    return InputError(
        "was written by something else while this command ran, and was left as it is",
        way_out="give another output, or --overwrite to replace it",
        path=path,
    )


def _link(temporary: str, path: str) -> None:
    """Gives a file its name, unless there is one of that name."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise _was_written(path) from error
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        os.replace(temporary, path)


def _remove_file(path: str) -> None:
    with suppress(OSError):  # not there, or the disk is read-only
        os.unlink(path)


@contextmanager
def claim_files(paths: Sequence[str], overwrite: bool) -> Iterator[Claim]:
    """As in `storage`."""
    with ExitStack() as stack:
        targets = {path: os.path.realpath(path) for path in paths}  # what a link names is replaced, not the link
        for path, target in targets.items():
            if os.path.exists(path) and not os.path.isfile(path):
                raise InputError(f"output {path} is a folder or a device", way_out="give the name of a file")
            with _one_sentence(path, "written"):
                stack.callback(_remove_empty, _make_folders(os.path.dirname(target)))
                stack.enter_context(_locked(_hidden_name(target, "lock"), path))
        with _one_sentence(paths[0], "written"):
            _remove_leftovers(list(targets.values()))
            versions = {path: _version_if_there(target) for path, target in targets.items()}
        for path, version in versions.items():
            if version and not overwrite:
                raise InputError(f"output {path} exists", way_out="give another name, or --overwrite to replace it")
        yield Claim(stack, versions)


@contextmanager
def claim_folder(folder: str) -> Iterator[None]:
    """As in `storage`."""
    with ExitStack() as stack:
        with _one_sentence(folder, "written"):
            made = _make_folders(folder)
            stack.enter_context(_locked(folder, folder))
            stack.callback(_remove_empty, made)
        yield


def _make_folders(folder: str) -> list[str]:
    """Makes a folder and those above it, as far as they are not there; returns those, the deepest first."""
    missing, place = [], os.path.abspath(folder)
    while not os.path.lexists(place):
        missing.append(place)
        place = os.path.dirname(place)
    make_folder(folder)
    return missing


def _remove_empty(folders: Sequence[str]) -> None:
    with suppress(OSError):  # not empty
        for folder in folders:
            os.rmdir(folder)


@contextmanager
def _locked(lock: str, path: str) -> Iterator[None]:
    """Holds a lock for `path`, where the file system has locks; the system releases it when the process ends.

    The lock is a folder, or a file that is there only meanwhile. Raises InputError where another process holds it.
    """
    with ExitStack() as stack:
        stack.callback(os.close, _open_locked(lock, path))
        if lock != path:
            stack.callback(_remove_file, lock)
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


def is_temporary(path: str) -> bool:
    """Whether a file lies in the folder for temporary files in one of ours, and is none of the user's."""
    folder = os.path.join(tempfile.gettempdir(), "maskmill-")
    return os.path.abspath(path).startswith(folder)


@contextmanager
def create_folder(path: Path) -> Iterator[Path]:
    """As in `storage`. The files are written into a folder below it, and get their names at the end."""
    folder = os.fspath(path)
    with claim_folder(folder):
        require_empty(folder)
        _remove_unfinished(folder)
        unfinished = os.path.join(folder, f".maskmill.{uuid.uuid4().hex}.tmp")
        os.mkdir(unfinished)
        try:
            yield Path(unfinished)
            if len(os.listdir(folder)) > 1:
                raise _was_written(folder)
            for name in sorted(os.listdir(unfinished), key=lambda name: _changed_at(os.path.join(unfinished, name))):
                _link(os.path.join(unfinished, name), os.path.join(folder, name))
        except BaseException as error:
            _remove_unfinished(folder)
            if isinstance(error, OSError) and error.errno in NO_ROOM:  # what fills it may not say which file it was
                raise InputError(
                    f"cannot be written ({error.strerror})", way_out=f"{_way_out(folder)}", path=folder
                ) from error
            raise
        shutil.rmtree(unfinished, ignore_errors=True)


def _changed_at(path: str) -> int:
    return os.stat(path).st_mtime_ns


def _remove_unfinished(folder: str) -> None:
    """Removes what `create_folder` left in a folder and did not finish: its files have two names."""
    for name in _names_of_unfinished(folder):
        os.unlink(os.path.join(folder, name))
    for name in os.listdir(folder):
        if TEMPORARY.fullmatch(name):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)


def _names_of_unfinished(folder: str) -> list[str]:
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


def write_bytes(path: str, data: bytes) -> None:
    """As in `storage`."""
    with create_file(path) as file:
        file.write(data)


def remove_files(folder: str, names: list[str]) -> None:
    """As in `storage`."""
    for name in names:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))


def remove_folder(folder: str) -> None:
    """As in `storage`."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_empty_folder(folder: str) -> None:
    """As in `storage`."""
    _remove_empty([folder])


def make_folder(folder: str) -> None:
    """As in `storage`."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be made ({error.strerror})", way_out="check the path and its permissions", path=folder
        ) from error


def require_empty(folder: str) -> None:
    """As in `storage`."""
    if os.path.isdir(folder):
        names = [name for name in os.listdir(folder) if not TEMPORARY.fullmatch(name)]
        if set(names) <= set(_names_of_unfinished(folder)):
            return
    elif not os.path.lexists(folder):
        return
    raise InputError(f"output {folder} is not empty", way_out="give a new or an empty folder")


def check_writable(folder: str) -> None:
    """As in `storage`."""
    existing = os.path.abspath(folder)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing) or not os.access(existing, os.W_OK):
        raise InputError(
            f"output {folder} cannot be written to", way_out="check its permissions, or give another folder"
        )


@contextmanager
def _one_sentence(path: str, done: str = "read", way_out: str = "check the path and its permissions") -> Iterator[None]:
    """Raises what goes wrong with a file as InputError; `done` is what was to be done with it."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise  # from what is read or written, not from the file
        raise InputError(f"cannot be {done} ({error.strerror})", way_out=f"{way_out}", path=path) from error
