"""Objects of Cloud Storage, for `storage`, whose functions say what these do.

Google's client tries again, for two minutes, what a service that is busy refused and what a network lost. An object
appears whole or not at all, so it needs no temporary name.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, cast

from maskmill.tokenizer.errors import InputError, first_line

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

SCHEME = "gs://"
CHUNK_BYTES = 8 << 20  # of an object, fetched or sent at a time
THREADS = 8  # fewer than the connections that the client keeps
LISTED = "items(name,size,generation),prefixes,nextPageToken"  # all that is asked of a listing
PROBE = ".maskmill-can-write"

_listed: dict[str, tuple[int, int]] = {}  # size and generation of objects that were listed


def find_files(name: str) -> list[str]:
    """As in `storage`."""
    bucket, key = _split(name)
    pattern = re.search(r"[*?\[]", key)
    if pattern and exists(name):
        return [name]  # an object may be called like a pattern
    prefix = key[: pattern.start()] if pattern else key
    folder = f"{key.rstrip('/')}/".lstrip("/")

    def is_named(object_name: str) -> bool:
        if object_name.endswith("/"):
            return False  # what some tools make of an empty folder
        if pattern:
            is_shown = "/." in f"/{key}" or not _is_hidden(object_name.split("/"))
            return is_shown and re.fullmatch(_translate(key), object_name) is not None
        is_below = object_name.startswith(folder) and not _is_hidden(object_name.removeprefix(folder).split("/"))
        return object_name == key or is_below

    found = []
    with _one_sentence(name):
        for blob in _client().list_blobs(bucket, prefix=prefix, fields=LISTED):
            if is_named(blob.name):
                path = f"{SCHEME}{bucket}/{blob.name}"
                _listed[path] = blob.size, blob.generation
                found.append(path)
    return found


def _is_hidden(parts: list[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _translate(pattern: str) -> str:
    """A glob pattern as a regular expression: * and ? stay within a folder, ** does not."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]", "[!": "[^"}

    def translate(part: str) -> str:
        if part.startswith("[") and len(part) > 1:
            return parts.get(part[:2], "[") + re.escape(part[2 if part[1] == "!" else 1 : -1]).replace(r"\-", "-") + "]"
        return parts.get(part, re.escape(part))

    return "".join(map(translate, _split_glob(pattern)))


def _split_glob(pattern: str) -> list[str]:
    return re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|\[\[\]|.", pattern, re.DOTALL)


def list_names(folder: str) -> list[str]:
    """As in `storage`."""
    return sorted(name for name in _below(folder, delimiter="/") if name)


def _below(folder: str, delimiter: str | None = None) -> Iterator[str]:
    """The names of the objects below a folder, relative to it; with a delimiter those directly in it."""
    bucket, key = _split(folder)
    prefix = f"{key.rstrip('/')}/".lstrip("/")
    with _one_sentence(folder):
        for blob in _client().list_blobs(bucket, prefix=prefix, delimiter=delimiter, fields=LISTED):
            _listed[f"{SCHEME}{bucket}/{blob.name}"] = blob.size, blob.generation
            yield blob.name.removeprefix(prefix)


def exists(path: str) -> bool:
    """As in `storage`."""
    with _one_sentence(path):
        return cast(bool, _blob(path).exists())


def size_of(path: str) -> int:
    """As in `storage`."""
    return _describe(path)[0]


def version_of(path: str) -> str:
    """As in `storage`."""
    return str(_describe(path)[1])


def current_version(path: str) -> str | None:
    """As in `storage`."""
    _listed.pop(path, None)
    return version_of(path) if exists(path) else None


def _describe(path: str) -> tuple[int, int]:
    if path not in _listed:
        with _one_sentence(path):
            blob = _blob(path)
            blob.reload()
            _listed[path] = cast(int, blob.size), cast(int, blob.generation)
    return _listed[path]


@contextmanager
def open_file(path: str, version: str | None) -> Iterator[BinaryIO]:
    """As in `storage`. What is written to the object meanwhile is not read: it is a generation of its own."""
    with _one_sentence(path):
        blob = _blob(path)
        blob.reload()
        if version and str(blob.generation) != version:
            raise _changed(path)
    with _one_sentence(path, _changed), blob.open("rb", chunk_size=CHUNK_BYTES) as file:
        yield cast(BinaryIO, file)


def _changed(path: str) -> InputError:
    return InputError("changed while it was read", way_out="run this again when nothing writes to it", path=path)


def _missing(path: str) -> InputError:
    return InputError("is not there (or its bucket)", way_out="check the name and the project", path=path)


@contextmanager
def create_file(path: str) -> Iterator[BinaryIO]:
    """As in `storage`."""
    _listed.pop(path, None)
    with _one_sentence(path, done="written"), _blob(path).open("wb", chunk_size=CHUNK_BYTES, ignore_flush=True) as file:
        yield cast(BinaryIO, file)


def write_bytes(path: str, data: bytes) -> None:
    """As in `storage`."""
    _listed.pop(path, None)
    with _one_sentence(path, done="written"):
        _blob(path).upload_from_string(data, content_type="application/octet-stream")


class Claim:
    """Objects that nobody else is to have written since, see `storage.claim_files`."""

    def __init__(self, generations: Mapping[str, int]):
        self._generations = generations  # of what is to be replaced; 0 where there was no object

    @contextmanager
    def create_file(self, path: str) -> Iterator[BinaryIO]:
        """As in `storage.create_file`; Cloud Storage refuses it when another object has that name since."""
        _listed.pop(path, None)
        with _one_sentence(path, done="written"):
            blob = _blob(path)
            upload = blob.open(
                "wb", chunk_size=CHUNK_BYTES, ignore_flush=True, if_generation_match=self._generations[path]
            )
            with upload as file:
                yield cast(BinaryIO, file)


@contextmanager
def claim_files(paths: Sequence[str], overwrite: bool) -> Iterator[Claim]:
    """As in `storage`. There are no locks: of two processes the first that has written its file goes on."""
    generations = {}
    check_writable(os.path.dirname(paths[0]))
    for path in paths:
        _listed.pop(path, None)
        is_there = exists(path)
        if is_there and not overwrite:
            raise InputError(f"output {path} exists", way_out="give another name, or --overwrite to replace it")
        generations[path] = _describe(path)[1] if is_there else 0
    yield Claim(generations)


@contextmanager
def claim_folder(folder: str) -> Iterator[None]:
    """As in `storage`. There are no locks."""
    yield


def remove_files(folder: str, names: Iterable[str]) -> None:
    """As in `storage`."""
    from google.api_core.exceptions import NotFound

    def remove(name: str) -> None:
        path = os.path.join(folder, name)
        _listed.pop(path, None)
        with _one_sentence(path, done="removed"), suppress(NotFound):
            _blob(path).delete()

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(remove, names))


def remove_folder(folder: str) -> None:
    """As in `storage`."""
    remove_files(folder, _below(folder))


def remove_empty_folder(folder: str) -> None:
    """There is none."""


def make_folder(folder: str) -> None:
    """There is nothing to make."""


def require_empty(folder: str) -> None:
    """As in `storage`."""
    if list_names(folder):
        raise InputError(f"output {folder} is not empty", way_out="give a new or an empty folder")


def check_writable(folder: str) -> None:
    """As in `storage`."""
    with _one_sentence(folder, done="written to"):
        probe = _blob(os.path.join(folder, PROBE))
        probe.upload_from_string(b"")
        probe.delete()


@contextmanager
def _one_sentence(path: str, on_missing: Callable[[str], InputError] = _missing, done: str = "read") -> Iterator[None]:
    """Raises what goes wrong with an object as InputError; `done` is what was to be done with it."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests import RequestException

    try:
        yield
    except (GoogleAuthError, GoogleAPIError, InvalidResponse, DataCorruption, RequestException) as error:
        status = _status_of(error)
        if status == HTTPStatus.NOT_FOUND:
            raise on_missing(path) from error
        if status == HTTPStatus.PRECONDITION_FAILED:
            raise InputError(
                "was written by something else while this command ran, and was left as it is",
                way_out="give another output, or --overwrite to replace it",
                path=path,
            ) from error
        if isinstance(error, GoogleAuthError) or status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise InputError(
                f"cannot be {done} with the credentials found here ({first_line(error)})",
                way_out="run 'gcloud auth application-default login', or set GOOGLE_APPLICATION_CREDENTIALS",
                path=path,
            ) from error
        raise InputError(
            f"cannot be {done} ({first_line(error)})", way_out="try again, or use a local path", path=path
        ) from error


def _status_of(error: Exception) -> int | None:
    """The HTTP status in an error of Google's client: in that of a long upload it is the response's."""
    return getattr(error, "code", None) or getattr(getattr(error, "response", None), "status_code", None)


@cache
def _client() -> "Client":
    # On a machine that is not Google's, the search for credentials ends with waiting for one that is: 3 s, not 20.
    os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")
    import google.auth
    from google.cloud.storage import Client

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return Client()
    credentials, project = google.auth.default(["https://www.googleapis.com/auth/devstorage.read_write"])
    return Client(project=project or "none", credentials=credentials)  # objects need no project


def _blob(path: str) -> "Blob":
    bucket, key = _split(path)
    return _client().bucket(bucket).blob(key)


def _split(path: str) -> tuple[str, str]:
    bucket, _, key = path.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise InputError("names no bucket", expected="gs://bucket/name", path=path)
    return bucket, key
