"""Files of this machine, for `storage`, whose functions say what these do."""

import glob
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tokenizer.errors import InputError


def find_files(name: str) -> list[str]:
    """As in `storage`."""
    if os.path.isdir(name):
        return list(_walk(name))
    if os.path.isfile(name):
        return [name]
    if os.path.exists(name):
        raise InputError(f"INPUT {name} is a pipe or a device; it is read more than once, so write it to a file first")
    return [path for path in glob.glob(name, recursive=True) if os.path.isfile(path)]


def _walk(folder: str) -> Iterator[str]:
    """The files below a folder and those that it links to, but for hidden ones."""

    def refuse(error: OSError) -> None:
        raise InputError(f"INPUT {error.filename} cannot be listed ({error.strerror}); check its permissions")

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
        raise InputError(f"{path} changed while it was read; run this again when nothing writes to it")


@contextmanager
def create_file(path: str) -> Iterator[BinaryIO]:
    """As in `storage`. What is unfinished has a hidden name that ends in .tmp."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise  # from what is written, not from the file
        way_out = "make room, or give another output"
        if is_temporary(path):
            way_out = "make room for temporary files, or set TMPDIR to a folder with more"
        raise InputError(f"{path} cannot be written ({error.strerror}); {way_out}") from error
    finally:
        with suppress(OSError):  # not there, or the disk is read-only
            os.unlink(temporary)


def is_temporary(path: str) -> bool:
    """Whether a file lies in the folder for temporary files in one of ours, and is none of the user's."""
    folder = os.path.join(tempfile.gettempdir(), "maskmill-")
    return os.path.abspath(path).startswith(folder)


@contextmanager
def create_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled, which appears under its name when it is whole, and not at all after an error.

    Raises InputError when one is there that is not empty.
    """
    require_empty(os.fspath(path))
    unfinished = path.with_name(f".{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


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


def make_folder(folder: str) -> None:
    """As in `storage`."""
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}); check the path and its permissions") from error


def require_empty(folder: str) -> None:
    """As in `storage`."""
    if os.path.exists(folder) and (not os.path.isdir(folder) or os.listdir(folder)):
        raise InputError(f"output {folder} is not empty; give a new or an empty folder")


def check_writable(folder: str) -> None:
    """As in `storage`."""
    existing = os.path.abspath(folder)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if not os.path.isdir(existing) or not os.access(existing, os.W_OK):
        raise InputError(f"output {folder} cannot be written to; check its permissions, or give another folder")


@contextmanager
def _one_sentence(path: str) -> Iterator[None]:
    """Raises what goes wrong with a file as InputError."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise  # from what is read, not from the file
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
