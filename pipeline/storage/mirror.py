"""The folder of a model in Cloud Storage, as a folder of this machine while it is worked with.

A training writes logs that grow, and checkpoints that are memory-mapped when they are read: neither is for objects.

Cloud Storage has no lock that ends with its process, and a restart after a preemption may not wait for one to run out.
So no training keeps another out, but each looks before it sends: whoever sends into a folder leaves its mark there, and
a training stops where it finds one that is neither its own nor the one that it began from. Of two, the first that saves
goes on. Between look and mark lie milliseconds; where both get through, one of them is told at its next checkpoint.
"""

import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from maskmill.pipeline.storage.storage import (
    claim_files,
    create_file,
    exists,
    is_remote,
    list_names,
    open_file,
    read_bytes,
    remove_files,
    write_text,
)
from maskmill.tokenizer.errors import InputError, OvertakenError

UNSENT = ".unsent"  # a file in a folder here whose content is to be kept: it could not be sent
MARK = ".written-by"  # a file of Cloud Storage alone: who sent what is there, and for which time

logger = logging.getLogger(__name__)


@dataclass
class Mirror:
    """A folder here, `local`, and the one that it stands for; the same one unless that is in Cloud Storage."""

    local: Path
    remote: str
    sends: bool = True
    trains: bool = False
    is_new: bool = False
    _sent: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> size and time of change
    _mark: str = ""  # that was there when this began
    _name: str = field(default_factory=lambda: uuid.uuid4().hex)
    _times: int = 0

    def send(self) -> None:
        """Brings the other folder up to date: what is new or changed, in the order in which it came; then what is gone.

        So a checkpoint is there after all that was written before it, and a run that finds it misses nothing. Raises
        OvertakenError, and sends nothing, where another training has sent into the folder.
        """
        if not self.is_behind():
            return
        if self.trains:
            self._leave_mark()
        states = self._states()
        for name in sorted(states, key=lambda name: (states[name][1], name)):
            if self._sent.get(name) != states[name]:
                with open(self.local / name, "rb") as source, self._create(os.path.join(self.remote, name)) as target:
                    shutil.copyfileobj(source, target)
                self._sent[name] = states[name]
        gone = [name for name in self._sent if not (self.local / name).exists()]
        remove_files(self.remote, gone)
        for name in gone:
            del self._sent[name]

    @contextmanager
    def _create(self, path: str) -> Iterator[BinaryIO]:
        if not self.is_new:
            with create_file(path) as file:
                yield file
            return
        with claim_files([path], overwrite=False) as claim, claim.create_file(path) as file:
            yield file

    def send_if_possible(self) -> None:
        """As `send`; what cannot be sent now goes with the next time."""
        try:
            self.send()
            (self.local / UNSENT).unlink(missing_ok=True)
        except OvertakenError:
            raise
        except InputError as error:
            self.keep_here()
            logger.warning("%s; trying again at the next checkpoint", error)

    def keep_here(self) -> None:
        """Lets the folder here outlast this process, however that ends."""
        with suppress(OSError):
            (self.local / UNSENT).touch()

    def _leave_mark(self) -> None:
        found = self._read_mark()
        if found != self._mark and not found.startswith(self._name):
            raise OvertakenError(
                f"another training has written into {self.remote} since this one last did",
                way_out=(
                    "let only one run, which goes on from the newest checkpoint there, or give each a folder of its own"
                ),
            )
        self._times += 1  # so that who began from the last one is told of this
        write_text(os.path.join(self.remote, MARK), f"{self._name} {self._times}\n")

    def _read_mark(self) -> str:
        path = os.path.join(self.remote, MARK)
        return read_bytes(path).decode() if exists(path) else ""

    def is_behind(self) -> bool:
        """Whether something here was not sent."""
        return self.sends and is_remote(self.remote) and self._states() != self._sent

    def fetch(self) -> None:
        """Copies the files of the remote folder into the local one."""
        if self.trains:
            self._mark = self._read_mark()  # first: what another training sends meanwhile, it sends after its mark
        for name in list_names(self.remote):
            if name == MARK:
                continue
            with open_file(os.path.join(self.remote, name)) as source, open(self.local / name, "wb") as target:
                shutil.copyfileobj(source, target)
        self._sent = self._states()

    def _states(self) -> dict[str, tuple[int, int]]:
        paths = (path for path in self.local.rglob("[!.]*") if path.is_file())  # a trace lies in folders
        stats = ((path.relative_to(self.local).as_posix(), path.stat()) for path in paths)
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats}


@contextmanager
def mirror(folder: str, sends: bool = True, trains: bool = False, is_new: bool = False) -> Iterator[Mirror]:
    """Fetches a folder from Cloud Storage, and sends back at the end what has changed; one that is here stays.

    Of several processes with one folder, one `sends`. One that `trains` stops where another training sends there. Into
    a folder that `is_new` no file is sent that would replace another.
    """
    if not is_remote(folder):
        yield Mirror(Path(folder), folder)
        return
    local = tempfile.mkdtemp(prefix="maskmill-")
    mirrored = Mirror(Path(local), folder, sends, trains, is_new)
    try:
        mirrored.fetch()
        try:
            yield mirrored
        finally:
            mirrored.send()
    except InputError as error:
        if mirrored.is_behind():
            mirrored.keep_here()
            raise InputError(str(error), way_out=f"what could not be sent is in {local}") from error
        shutil.rmtree(local, ignore_errors=True)
        raise error.renamed(local, folder) from error
    except BaseException:
        shutil.rmtree(local, ignore_errors=True)
        raise
    shutil.rmtree(local, ignore_errors=True)
