"""The folder of a model in Cloud Storage, as a folder of this machine while it is worked with.

A training writes logs that grow, and checkpoints that are memory-mapped when they are read: neither is for objects.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.storage import create_file, is_remote, list_names, open_file, remove_files
from tokenizer.errors import InputError

logger = logging.getLogger(__name__)


@dataclass
class Mirror:
    """A folder here, `local`, and the one that it stands for; the same one unless that is in Cloud Storage."""

    local: Path
    remote: str
    sends: bool = True
    _sent: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> size and time of change

    def send(self) -> None:
        """Brings the other folder up to date: what is new or changed first, then what is gone."""
        if not self.sends or not is_remote(self.remote):
            return
        for name, state in sorted(self._states().items()):
            if self._sent.get(name) != state:
                with open(self.local / name, "rb") as source, create_file(os.path.join(self.remote, name)) as target:
                    shutil.copyfileobj(source, target)
                self._sent[name] = state
        gone = [name for name in self._sent if not (self.local / name).exists()]
        remove_files(self.remote, gone)
        for name in gone:
            del self._sent[name]

    def send_if_possible(self) -> None:
        """As `send`; what cannot be sent now goes with the next time."""
        try:
            self.send()
        except InputError as error:
            logger.warning("%s; trying again at the next checkpoint", error)

    def is_behind(self) -> bool:
        """Whether something here was not sent."""
        return self.sends and is_remote(self.remote) and self._states() != self._sent

    def fetch(self) -> None:
        """Fills the folder here."""
        for name in list_names(self.remote):
            with open_file(os.path.join(self.remote, name)) as source, open(self.local / name, "wb") as target:
                shutil.copyfileobj(source, target)
        self._sent = self._states()

    def _states(self) -> dict[str, tuple[int, int]]:
        paths = (path for path in self.local.rglob("[!.]*") if path.is_file())  # a trace lies in folders
        stats = ((path.relative_to(self.local).as_posix(), path.stat()) for path in paths)
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats}


@contextmanager
def mirror(folder: str, sends: bool = True) -> Iterator[Mirror]:
    """Fetches a folder from Cloud Storage, and sends back at the end what has changed; one that is here stays.

    Of several processes with one folder, one `sends`.
    """
    if not is_remote(folder):
        yield Mirror(Path(folder), folder)
        return
    local = tempfile.mkdtemp(prefix="maskmill-")
    mirrored = Mirror(Path(local), folder, sends)
    try:
        mirrored.fetch()
        try:
            yield mirrored
        finally:
            mirrored.send()
    except InputError as error:
        if mirrored.is_behind():
            raise InputError(f"{error}; what could not be sent is in {local}") from error
        shutil.rmtree(local, ignore_errors=True)
        raise InputError(str(error).replace(local, folder)) from error
    except BaseException:
        shutil.rmtree(local, ignore_errors=True)
        raise
    shutil.rmtree(local, ignore_errors=True)
