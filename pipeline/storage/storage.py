"""Files of this machine and objects of Cloud Storage (`gs://bucket/name`) behind the same few functions.

A path is a string, or a `pathlib.Path` where it is of this machine. `os.path.join` and its like serve both. A folder of
Cloud Storage is all objects whose names begin with it and a slash.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Protocol, cast

from maskmill.pipeline.storage import cloud_storage, local_files
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import MAX_BYTES, parse_object

AnyPath = str | os.PathLike[str]


def is_remote(path: AnyPath) -> bool:
    """Whether a path names an object or a bucket of Cloud Storage."""
    return os.fspath(path).startswith(cloud_storage.SCHEME)


def absolute(path: AnyPath) -> str:
    """A path as it can be recorded, or given to another process: whole, wherever it is read from."""
    return os.fspath(path) if is_remote(path) else os.path.abspath(path)


def printable(path: AnyPath) -> str:
    r"""A path as text that can be written anywhere; bytes that are no UTF-8 are escaped.

    >>> printable("a\udcff.txt")
    'a\\udcff.txt'
    """
    return os.fspath(path).encode(errors="backslashreplace").decode()


def find_files(name: str) -> list[str]:
    """The files that an INPUT names: a path, a folder or a glob pattern; those below a folder, but for hidden ones."""
    if "://" in name and not is_remote(name):
        raise InputError(
            f"INPUT {name} is neither on this machine nor in Cloud Storage", way_out="give a path or gs://bucket/..."
        )
    return cast(list[str], _store(name).find_files(name))


def list_names(folder: AnyPath) -> list[str]:
    """The names of the files that lie directly in a folder, hidden ones too; none where there is no such folder."""
    return cast(list[str], _call("list_names", folder))


def exists(path: AnyPath) -> bool:
    """Whether there is such a file."""
    return cast(bool, _call("exists", path))


def size_of(path: AnyPath) -> int:
    """The bytes of a file."""
    return cast(int, _call("size_of", path))


def version_of(path: AnyPath) -> str:
    """What tells a file from what it was before it was changed."""
    return cast(str, _call("version_of", path))


def current_version(path: AnyPath) -> str | None:
    """As `version_of`, looked up anew each time; None where there is no such file."""
    return cast(str | None, _call("current_version", path))


def require_version(path: AnyPath, version: str) -> None:
    """Raises InputError when a file is no longer of a version that it had."""
    if current_version(path) != version:
        raise InputError(
            f"{os.fspath(path)} changed while it was read", way_out="run this again when nothing writes to it"
        )


def open_file(path: AnyPath, version: str | None = None) -> AbstractContextManager[BinaryIO]:
    """A file, to be read from any place.

    Raises InputError where it cannot be read, or is another version than the one given.
    """
    return cast(AbstractContextManager[BinaryIO], _call("open_file", path, version))


def read_bytes(path: AnyPath) -> bytes:
    """The content of a file. Raises InputError where it cannot be read."""
    with open_file(path) as file:
        return file.read()


def read_at_most(path: AnyPath, most: int) -> bytes:
    """The content of a file, of a longer one than `most` bytes its first `most` + 1; as `read_bytes`."""
    with open_file(path) as file:
        return file.read(most + 1)


def read_json(path: AnyPath, way_out: str, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The members of the JSON object in a file, see `parse_object`. Raises InputError where it cannot be read."""
    return parse_object(read_at_most(path, max_bytes), path, way_out, max_bytes)


def create_file(path: AnyPath) -> AbstractContextManager[BinaryIO]:
    """A file to be written, which appears under its name when it is whole, and not at all after an error.

    Raises InputError when there is no room for it, or no permission.
    """
    return cast(AbstractContextManager[BinaryIO], _call("create_file", path))


class Claim(Protocol):
    """Files that a command alone writes."""

    def create_file(self, path: str) -> AbstractContextManager[BinaryIO]:
        """As `storage.create_file`, but replaces only the file that was there when the claim began.

        Raises InputError when another one is there by then.
        """


def claim_files(paths: Sequence[str], overwrite: bool) -> AbstractContextManager[Claim]:
    """Files of one folder that only this process writes within the context, which makes the folder.

    After an error none of them is there that was not there before. When a process is killed between two files, the
    next claim removes the first.

    Raises InputError when one of them exists and is not to be overwritten, or when another process has claimed it; in
    Cloud Storage, which has no locks, that is noticed when the file is written.
    """
    return cast(AbstractContextManager[Claim], _store(paths[0]).claim_files(paths, overwrite))


def claim_folder(folder: AnyPath) -> AbstractContextManager[None]:
    """A folder of this machine into which only this process writes; made, and removed again where it stays empty.

    Raises InputError when another process has it. In Cloud Storage it does nothing.
    """
    return cast(AbstractContextManager[None], _call("claim_folder", folder))


def create_folder(path: Path) -> AbstractContextManager[Path]:
    """A folder of this machine to be filled; what is written appears in it when all is whole, and not after an error.

    Only this process writes into it meanwhile. Raises InputError when there is one that is not empty.
    """
    return local_files.create_folder(path)


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Writes a file, as `create_file`."""
    _call("write_bytes", path, data)


def write_text(path: AnyPath, text: str) -> None:
    """Writes a file as UTF-8, as `create_file`."""
    write_bytes(path, text.encode())


def remove_files(folder: AnyPath, names: list[str]) -> None:
    """Removes files that lie in a folder; those that are not there are no matter."""
    _call("remove_files", folder, names)


def remove_folder(folder: AnyPath) -> None:
    """Removes a folder and all that is in it; it is no matter if it is not there."""
    _call("remove_folder", folder)


def remove_empty_folder(folder: AnyPath) -> None:
    """Removes a folder, unless something is in it or it is not there."""
    _call("remove_empty_folder", folder)


def make_folder(folder: AnyPath) -> None:
    """Makes a folder and those above it, where they are not there."""
    _call("make_folder", folder)


def require_empty(folder: AnyPath) -> None:
    """Raises InputError when something is there that is not an empty folder."""
    _call("require_empty", folder)


def check_writable(folder: AnyPath) -> None:
    """Raises InputError when no file can be written into a folder, or the folder cannot be made. Leaves no trace."""
    _call("check_writable", folder)


def _call(function: str, path: AnyPath, *arguments: object) -> Any:
    return getattr(_store(path), function)(os.fspath(path), *arguments)


def _store(path: AnyPath) -> ModuleType:
    return cloud_storage if is_remote(path) else local_files
