"""Files of this machine and objects of Cloud Storage (`gs://bucket/name`) behind the same few functions.

A path is a string, or a `pathlib.Path` where it is of this machine. `os.path.join` and its like serve both. A folder of
Cloud Storage is all objects whose names begin with it and a slash.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from maskmill.pipeline.storage.refusals import changed_meanwhile
from maskmill.pipeline.storage.store import LOCAL, Store, store_of
from maskmill.pipeline.storage.store import AnyPath as AnyPath  # also for whoever calls these functions
from maskmill.pipeline.storage.store import Claim as Claim
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import MAX_BYTES, parse_object

P = ParamSpec("P")
T = TypeVar("T")


def _by_path(method: Callable[Concatenate[Store, str, P], T]) -> Callable[Concatenate[AnyPath, P], T]:
    """A method of Store as a function: the first argument, a path, says of which store."""

    @wraps(method)
    def call(path: AnyPath, /, *args: P.args, **kwargs: P.kwargs) -> T:
        function: Callable[Concatenate[str, P], T] = getattr(store_of(path), method.__name__)
        return function(os.fspath(path), *args, **kwargs)

    return call


list_names = _by_path(Store.list_names)
exists = _by_path(Store.exists)
size_of = _by_path(Store.size_of)
version_of = _by_path(Store.version_of)
current_version = _by_path(Store.current_version)
open_file = _by_path(Store.open_file)
create_file = _by_path(Store.create_file)
write_bytes = _by_path(Store.write_bytes)
claim_folder = _by_path(Store.claim_folder)
remove_files = _by_path(Store.remove_files)
remove_folder = _by_path(Store.remove_folder)
remove_empty_folder = _by_path(Store.remove_empty_folder)
make_folder = _by_path(Store.make_folder)
require_empty = _by_path(Store.require_empty)
check_writable = _by_path(Store.check_writable)


def claim_files(paths: Sequence[str], overwrite: bool) -> AbstractContextManager[Claim]:
    """See `Store.claim_files`."""
    return store_of(paths[0]).claim_files(paths, overwrite)


def is_remote(path: AnyPath) -> bool:
    """Whether a path is not of this machine."""
    return store_of(path) is not LOCAL


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
    """The files that an INPUT names, see `Store.find_files`."""
    if "://" in name and not is_remote(name):
        raise InputError(
            f"INPUT {name} is neither on this machine nor in Cloud Storage", way_out="give a path or gs://bucket/..."
        )
    return store_of(name).find_files(name)


def require_version(path: AnyPath, version: str) -> None:
    """Raises InputError when a file is no longer of a version that it had."""
    if current_version(path) != version:
        raise changed_meanwhile(os.fspath(path))


def read_bytes(path: AnyPath) -> bytes:
    """The content of a file."""
    with open_file(path) as file:
        return file.read()


def read_at_most(path: AnyPath, most: int) -> bytes:
    """The content of a file, of a longer one than `most` bytes its first `most` + 1."""
    with open_file(path) as file:
        return file.read(most + 1)


def read_json(path: AnyPath, way_out: str, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The members of the JSON object in a file, see `parse_object`."""
    return parse_object(read_at_most(path, max_bytes), path, way_out, max_bytes)


def write_text(path: AnyPath, text: str) -> None:
    """Writes a file as UTF-8, as `create_file`."""
    write_bytes(path, text.encode())
