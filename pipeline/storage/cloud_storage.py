"""Objects of Cloud Storage as files.

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

from maskmill.pipeline.storage.google_errors import LOG_IN, google_errors, read_refusal
from maskmill.pipeline.storage.refusals import already_exists, changed_meanwhile, not_empty, written_meanwhile
from maskmill.tokenizer.errors import InputError

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

SCHEME = "gs://"
CHUNK_BYTES = 8 << 20  # of an object, fetched or sent at a time
THREADS = 8  # fewer than the connections that the client keeps
LISTED = "items(name,size,generation),prefixes,nextPageToken"  # all that is asked of a listing
PROBE = ".maskmill-can-write"


class CloudStore:
    """The objects of all buckets, see `Store`. It remembers the sizes and generations that it was told."""

    def __init__(self) -> None:
        self._client = cache(_new_client)
        self._known: dict[str, tuple[int, int]] = {}  # size and generation of objects

    def forget(self) -> None:
        """Makes a new client when the next one is needed, and looks everything up anew."""
        self._client.cache_clear()
        self._known.clear()

    def find_files(self, name: str) -> list[str]:
        bucket, key = _split(name)
        pattern = re.search(r"[*?\[]", key)
        if pattern and self.exists(name):
            return [name]  # an object may be called like a pattern
        prefix = key[: pattern.start()] if pattern else key
        found = self._list(name, bucket, prefix, is_wanted=_matcher(key) if pattern else _below(key))
        return [f"{SCHEME}{bucket}/{object_name}" for object_name in found]

    def list_names(self, folder: str) -> list[str]:
        return sorted(name for name in self._names_below(folder, delimiter="/") if name)

    def _names_below(self, folder: str, delimiter: str | None = None) -> Iterator[str]:
        """The names of the objects below a folder, relative to it; with a delimiter those directly in it."""
        bucket, key = _split(folder)
        prefix = f"{key.rstrip('/')}/".lstrip("/")
        return (name.removeprefix(prefix) for name in self._list(folder, bucket, prefix, delimiter=delimiter))

    def _list(
        self,
        asked: str,
        bucket: str,
        prefix: str,
        is_wanted: Callable[[str], bool] = bool,
        delimiter: str | None = None,
    ) -> Iterator[str]:
        with _object_errors(asked):
            for blob in self._client().list_blobs(bucket, prefix=prefix, delimiter=delimiter, fields=LISTED):
                if is_wanted(blob.name):
                    self._known[f"{SCHEME}{bucket}/{blob.name}"] = blob.size, blob.generation
                    yield blob.name

    def exists(self, path: str) -> bool:
        with _object_errors(path):
            return cast(bool, self._blob(path).exists())

    def size_of(self, path: str) -> int:
        return self._describe(path)[0]

    def version_of(self, path: str) -> str:
        return str(self._describe(path)[1])

    def current_version(self, path: str) -> str | None:
        self._known.pop(path, None)
        return self.version_of(path) if self.exists(path) else None

    def _describe(self, path: str) -> tuple[int, int]:
        if path not in self._known:
            with _object_errors(path):
                blob = self._blob(path)
                blob.reload()
                self._known[path] = cast(int, blob.size), cast(int, blob.generation)
        return self._known[path]

    @contextmanager
    def open_file(self, path: str, version: str | None = None) -> Iterator[BinaryIO]:
        # What is written to the object meanwhile is not read: it is a generation of its own.
        with _object_errors(path):
            blob = self._blob(path)
            blob.reload()
            if version and str(blob.generation) != version:
                raise changed_meanwhile(path)
        with _object_errors(path, on_missing=changed_meanwhile), blob.open("rb", chunk_size=CHUNK_BYTES) as file:
            yield cast(BinaryIO, file)

    @contextmanager
    def create_file(self, path: str, replaced: int | None = None) -> Iterator[BinaryIO]:
        """As in Store; `replaced` is the only generation that it may replace, 0 for none."""
        self._known.pop(path, None)
        with _object_errors(path, "written"):
            upload = self._blob(path).open(
                "wb", chunk_size=CHUNK_BYTES, ignore_flush=True, if_generation_match=replaced
            )
            with upload as file:
                yield cast(BinaryIO, file)

    def write_bytes(self, path: str, data: bytes) -> None:
        self._known.pop(path, None)
        with _object_errors(path, "written"):
            self._blob(path).upload_from_string(data, content_type="application/octet-stream")

    @contextmanager
    def claim_files(self, paths: Sequence[str], overwrite: bool) -> Iterator["CloudClaim"]:
        # There are no locks: of two processes the first that has written its file goes on.
        self.check_writable(os.path.dirname(paths[0]))
        versions = {path: self.current_version(path) for path in paths}
        for path, version in versions.items():
            if version and not overwrite:
                raise already_exists(path)
        yield CloudClaim(self, {path: int(version or 0) for path, version in versions.items()})

    @contextmanager
    def claim_folder(self, folder: str) -> Iterator[None]:
        yield

    def remove_files(self, folder: str, names: Iterable[str]) -> None:
        from google.api_core.exceptions import NotFound

        def remove(name: str) -> None:
            path = os.path.join(folder, name)
            self._known.pop(path, None)
            with _object_errors(path, "removed"), suppress(NotFound):
                self._blob(path).delete()

        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(remove, names))

    def remove_folder(self, folder: str) -> None:
        self.remove_files(folder, self._names_below(folder))

    def remove_empty_folder(self, folder: str) -> None:
        """A folder of Cloud Storage is its objects, and so never empty."""

    def make_folder(self, folder: str) -> None:
        """A folder of Cloud Storage is there with the first of its objects."""

    def require_empty(self, folder: str) -> None:
        if self.list_names(folder):
            raise not_empty(folder)

    def check_writable(self, folder: str) -> None:
        with _object_errors(folder, "written to"):
            probe = self._blob(os.path.join(folder, PROBE))
            probe.upload_from_string(b"")
            probe.delete()

    def _blob(self, path: str) -> "Blob":
        bucket, key = _split(path)
        return self._client().bucket(bucket).blob(key)


class CloudClaim:
    """Objects that nobody else may write meanwhile, see `Claim`: Cloud Storage compares their generations."""

    def __init__(self, store: CloudStore, generations: Mapping[str, int]):
        self._store = store
        self._generations = generations  # of what is to be replaced; 0 where there was no object

    @contextmanager
    def create_file(self, path: str) -> Iterator[BinaryIO]:
        with self._store.create_file(path, self._generations[path]) as file:
            yield file


def _split(path: str) -> tuple[str, str]:
    bucket, _, key = path.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise InputError("names no bucket", expected="gs://bucket/name", path=path)
    return bucket, key


def _below(key: str) -> Callable[[str], bool]:
    """Whether an object is the one of this name, or is in the folder of this name and not hidden."""
    folder = f"{key.rstrip('/')}/".lstrip("/")

    def is_below(name: str) -> bool:
        if _is_marker(name):
            return False
        return name == key or (name.startswith(folder) and not _is_hidden(name.removeprefix(folder).split("/")))

    return is_below


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether an object has a name like a glob pattern, which may ask for hidden ones."""
    expression, shows_hidden = re.compile(_translate(pattern)), "/." in f"/{pattern}"

    def matches(name: str) -> bool:
        if _is_marker(name) or not (shows_hidden or not _is_hidden(name.split("/"))):
            return False
        return expression.fullmatch(name) is not None

    return matches


def _is_marker(name: str) -> bool:
    return name.endswith("/")  # what some tools make of an empty folder


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


def _missing(path: str) -> InputError:
    return InputError("is not there (or its bucket)", way_out="check the name and the project", path=path)


@contextmanager
def _object_errors(path: str, done: str = "read", on_missing: Callable[[str], InputError] = _missing) -> Iterator[None]:
    """Raises what goes wrong with an object as InputError; `done` is what was to be done with it."""
    try:
        yield
    except google_errors() as error:
        refusal = read_refusal(error)
        if refusal.status == HTTPStatus.NOT_FOUND:
            raise on_missing(path) from error
        if refusal.status == HTTPStatus.PRECONDITION_FAILED:
            raise written_meanwhile(path) from error
        problem, way_out = f"cannot be {done} ({refusal.says})", "try again, or use a local path"
        if refusal.is_of_credentials or refusal.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            problem, way_out = f"cannot be {done} with the credentials found here ({refusal.says})", LOG_IN
        raise InputError(problem, way_out=way_out, path=path) from error


def _new_client() -> "Client":
    # On a machine that is not Google's, the search for credentials ends with waiting for one that is: 3 s, not 20.
    os.environ.setdefault("GCE_METADATA_DETECT_RETRIES", "1")
    import google.auth
    from google.cloud.storage import Client

    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return Client()
    credentials, project = google.auth.default(["https://www.googleapis.com/auth/devstorage.read_write"])
    return Client(project=project or "none", credentials=credentials)  # objects need no project
