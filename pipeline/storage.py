"""Files of this machine and objects of Cloud Storage (`gs://bucket/name`) behind the same few functions."""

import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, cast

from tokenizer.errors import InputError, first_line

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

REMOTE = "gs://"
CHUNK_BYTES = 8 << 20  # of an object, fetched at a time

_sizes: dict[str, int] = {}  # of objects that were listed, which tells it without another request


def is_remote(path: str) -> bool:
    """Whether a path names an object or a bucket of Cloud Storage."""
    return path.startswith(REMOTE)


def find_files(name: str) -> list[str]:
    """The files that a path, a folder or a glob pattern names; those below a folder, but for hidden ones."""
    if "://" in name:
        return _find_objects(name)
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
        folders[:] = [name for name in folders if not _is_hidden([name])]
        paths = (os.path.join(place, name) for name in names if not _is_hidden([name]))
        yield from (path for path in paths if os.path.isfile(path) or os.path.islink(path))


def _find_objects(name: str) -> list[str]:
    if not is_remote(name):
        raise InputError(
            f"INPUT {name} is neither on this machine nor in Cloud Storage; give a path or gs://bucket/..."
        )
    bucket, _, key = name.removeprefix(REMOTE).partition("/")
    pattern = re.search(r"[*?\[]", key)
    prefix = key[: pattern.start()] if pattern else key
    folder = f"{key.rstrip('/')}/".lstrip("/")

    def is_named(object_name: str) -> bool:
        if object_name.endswith("/"):
            return False  # what some tools make of an empty folder
        if pattern:
            return re.fullmatch(_translate(key), object_name) is not None
        is_below = object_name.startswith(folder) and not _is_hidden(object_name.removeprefix(folder).split("/"))
        return object_name == key or is_below

    found = []
    with _one_sentence(name):
        for blob in _client().list_blobs(bucket, prefix=prefix):
            if is_named(blob.name):
                path = f"{REMOTE}{bucket}/{blob.name}"
                _sizes[path] = blob.size
                found.append(path)
    return found


def _is_hidden(parts: list[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _translate(pattern: str) -> str:
    """A glob pattern as a regular expression: * and ? stay within a folder, ** does not."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(parts.get(part, part if part.startswith("[") else re.escape(part)) for part in _split_glob(pattern))


def _split_glob(pattern: str) -> list[str]:
    return re.findall(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", pattern, re.DOTALL)


def size_of(path: str) -> int:
    """The bytes of a file or an object."""
    if not is_remote(path):
        return os.path.getsize(path)
    if path not in _sizes:
        with _one_sentence(path):
            blob = _blob(path)
            blob.reload()
            _sizes[path] = cast(int, blob.size)
    return _sizes[path]


@contextmanager
def open_file(path: str) -> Iterator[BinaryIO]:
    """A file or an object, to be read from any place. Raises InputError where it cannot be read."""
    with _one_sentence(path):
        if is_remote(path):
            with _blob(path).open("rb", chunk_size=CHUNK_BYTES) as file:
                yield cast(BinaryIO, file)
        else:
            with open(path, "rb") as file:
                yield file


@contextmanager
def _one_sentence(path: str) -> Iterator[None]:
    """Raises what goes wrong with a file or an object as InputError."""
    if not is_remote(path):
        try:
            yield
        except OSError as error:
            if error.errno is None:
                raise  # from what is read, not from the file
            raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
        return
    from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, Unauthorized
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    try:
        yield
    except NotFound as error:
        raise InputError(f"{path} is not there (or its bucket); check the name and the project") from error
    except (GoogleAuthError, Forbidden, Unauthorized) as error:
        raise InputError(
            f"{path} cannot be read with the credentials found here ({first_line(error)}); "
            "run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS"
        ) from error
    except (GoogleAPIError, RequestException) as error:
        raise InputError(f"{path} cannot be read ({first_line(error)}); try again, or copy it here first") from error


@cache
def _client() -> "Client":
    from google.cloud.storage import Client

    return Client()


def _blob(path: str) -> "Blob":
    bucket, _, key = path.removeprefix(REMOTE).partition("/")
    return _client().bucket(bucket).blob(key)
