"""The files of this machine."""

import glob
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from maskmill.pipeline.storage.local_claims import (
    claim_files,
    claim_folder,
    file_errors,
    make_folder,
    new_temporary,
    remove_empty,
    remove_file,
    require_empty,
    version_of,
    way_out_of_no_room,
)
from maskmill.pipeline.storage.refusals import changed_meanwhile
from maskmill.tokenizer.errors import InputError


class LocalStore:
    """The files of this machine, see `Store`."""

    claim_files = staticmethod(claim_files)
    claim_folder = staticmethod(claim_folder)
    make_folder = staticmethod(make_folder)
    require_empty = staticmethod(require_empty)

    def find_files(self, name: str) -> list[str]:
        if os.path.isdir(name):
            return list(_walk(name))
        if os.path.isfile(name):
            return [name]
        if os.path.exists(name):
            raise InputError(
                f"INPUT {name} is a pipe or a device", way_out="it is read more than once, so write it to a file first"
            )
        return [path for path in glob.glob(name, recursive=True) if os.path.isfile(path)]

    def list_names(self, folder: str) -> list[str]:
        if not os.path.isdir(folder):
            return []
        with file_errors(folder):
            return sorted(entry.name for entry in os.scandir(folder) if entry.is_file())

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def size_of(self, path: str) -> int:
        with file_errors(path):
            return os.path.getsize(path)

    def version_of(self, path: str) -> str:
        with file_errors(path):
            return version_of(path)

    def current_version(self, path: str) -> str | None:
        return self.version_of(path) if os.path.exists(path) else None

    @contextmanager
    def open_file(self, path: str, version: str | None = None) -> Iterator[BinaryIO]:
        with file_errors(path), open(path, "rb") as file:
            _require_version(path, version)
            yield file
            _require_version(path, version)

    @contextmanager
    def create_file(self, path: str) -> Iterator[BinaryIO]:
        temporary = new_temporary(path)
        try:
            with file_errors(path, "written", way_out_of_no_room(path)):
                with open(temporary, "wb") as file:
                    yield file
                os.replace(temporary, path)
        finally:
            remove_file(temporary)

    def write_bytes(self, path: str, data: bytes) -> None:
        with self.create_file(path) as file:
            file.write(data)

    def remove_files(self, folder: str, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, name))

    def remove_folder(self, folder: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def remove_empty_folder(self, folder: str) -> None:
        remove_empty([folder])

    def check_writable(self, folder: str) -> None:
        existing = os.path.abspath(folder)
        while not os.path.exists(existing):
            existing = os.path.dirname(existing)
        if not os.path.isdir(existing) or not os.access(existing, os.W_OK):
            raise InputError(
                f"output {folder} cannot be written to", way_out="check its permissions, or give another folder"
            )


def _require_version(path: str, version: str | None) -> None:
    if version and version_of(path) != version:
        raise changed_meanwhile(path)


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
