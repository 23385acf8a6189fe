"""Where files are kept: what every store does, and the store of a path."""

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from maskmill.pipeline.storage.cloud_storage import SCHEME, CloudStore
from maskmill.pipeline.storage.local_files import LocalStore

AnyPath = str | os.PathLike[str]


class Claim(Protocol):
    """Files that a command alone writes."""

    def create_file(self, path: str) -> AbstractContextManager[BinaryIO]:
        """As `Store.create_file`, but replaces only the file that was there when the claim began.

        Raises InputError when another one is there by then.
        """


class Store(Protocol):
    """Files and folders under paths, which are strings. All methods raise InputError when a path cannot be used."""

    def find_files(self, name: str) -> list[str]:
        """The files that a path, a folder or a glob pattern names; all below a folder, but for hidden ones."""

    def list_names(self, folder: str) -> list[str]:
        """The names of the files directly in a folder, hidden ones too; none when there is no such folder."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def size_of(self, path: str) -> int:
        """The bytes of a file."""

    def version_of(self, path: str) -> str:
        """What tells a file from what it was before it was changed."""

    def current_version(self, path: str) -> str | None:
        """As `version_of`, looked up anew each time; None when there is no such file."""

    def open_file(self, path: str, version: str | None = None) -> AbstractContextManager[BinaryIO]:
        """A file, to be read from any place. Raises InputError when it is another version than the one given."""

    def create_file(self, path: str) -> AbstractContextManager[BinaryIO]:
        """A file to be written, which appears under its name when it is whole, and not at all after an error."""

    def write_bytes(self, path: str, data: bytes) -> None:
        """Writes a file, as `create_file`."""

    def claim_files(self, paths: Sequence[str], overwrite: bool) -> AbstractContextManager[Claim]:
        """Files of one folder that only this process writes within the context, which makes the folder.

        After an error none of them is there that was not there before. When a process is killed between two files, the
        next claim removes the first.

        Raises InputError when one of them exists and is not to be overwritten, or when another process has claimed it;
        in Cloud Storage, which has no locks, that is noticed when the file is written.
        """

    def claim_folder(self, folder: str) -> AbstractContextManager[None]:
        """A folder into which only this process writes; made, and removed again when it stays empty.

        Raises InputError when another process has it. In Cloud Storage it does nothing.
        """

    def remove_files(self, folder: str, names: Iterable[str]) -> None:
        """Removes files of a folder, as far as they are there."""

    def remove_folder(self, folder: str) -> None:
        """Removes a folder and all that is in it, if it is there."""

    def remove_empty_folder(self, folder: str) -> None:
        """Removes a folder if it is there and empty."""

    def make_folder(self, folder: str) -> None:
        """Makes a folder and those above it, where they are not there."""

    def require_empty(self, folder: str) -> None:
        """Raises InputError when something is there that is not an empty folder."""

    def check_writable(self, folder: str) -> None:
        """Raises InputError when no file can be written into a folder, or it cannot be made. Leaves no trace."""


LOCAL = LocalStore()
CLOUD = CloudStore()


def store_of(path: AnyPath) -> Store:
    """The store that keeps a path."""
    return CLOUD if os.fspath(path).startswith(SCHEME) else LOCAL
