"""TFRecord files: each record framed by its length and two checksums; the whole file plain, or one gzip stream.

Format: uint64 length, masked CRC32C of the length, the record, masked CRC32C of the record; little endian.
Source: `tensorflow/core/lib/io/record_writer.h`.
"""

import gzip
import hashlib
import io
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, BinaryIO, TypeVar

import google_crc32c
import numpy as np
from isal import igzip, igzip_lib, isal_zlib
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import Compression
from maskmill.pipeline.storage.storage import AnyPath, create_file, open_file
from maskmill.tokenizer.errors import InputError

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")

GZIP_START = b"\x1f\x8b\x08"  # in a plain file a first record of 560 kB; the longest that generate makes has 165 kB
GZIP_LEVEL = 1
GZIP_BLOCK = 1 << 20  # igzip's output depends on how its input is cut; so these three are part of the bytes
GZIP_WINDOW = 16 + isal_zlib.MAX_WBITS  # 16: with gzip's header, which here has no time and no name

Crc = TypeVar("Crc", int, NDArray[Any])  # a number, or an array of uint32


@dataclass(frozen=True)
class WrittenFile:
    """What was written: records, bytes of the file as it lies on disk, and their checksum."""

    records: int
    bytes: int
    sha256: str


def mask_crc(crc: Crc) -> Crc:
    """What TFRecord stores for a CRC32C: the same, rotated right by 15 bits, plus a constant."""
    masked: Crc = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return masked


def frame_records(records: Sequence[bytes]) -> bytes:
    """Records as they stand in the file, one after the other."""
    crcs = np.fromiter(map(google_crc32c.value, records), np.uint32, len(records))
    footers = mask_crc(crcs).astype("<u4").view("V4").tolist()
    return b"".join(chain.from_iterable(zip(map(_header, map(len, records)), records, footers)))


@lru_cache
def _header(length: int) -> bytes:
    return HEADER.pack(length, mask_crc(google_crc32c.value(struct.pack("<Q", length))))


def write_records(path: AnyPath, batches: Iterable[Sequence[bytes]], compression: Compression = "none") -> WrittenFile:
    """Writes batches of records to a file that appears under its name only when it is whole.

    The bytes are a function of the records and of `compression`; those of gzip also of the version of isal, and of
    whether the processor has its instructions for CRC32C (x86 since 2008).

    Raises InputError when there is no room for it, or no permission.
    """
    checksum = hashlib.sha256()
    records = size = 0

    def store(data: bytes) -> None:
        nonlocal size
        file.write(data)
        checksum.update(data)
        size += len(data)

    compressor = _Gzip(store) if compression == "gzip" else None
    write = compressor.write if compressor else store
    # What is done with a batch lets other threads of Python run: so the next one is made meanwhile.
    with create_file(path) as file, ThreadPoolExecutor(1) as writer:
        written: Future[None] = writer.submit(write, b"")
        for batch in batches:
            data = frame_records(batch)
            records += len(batch)
            written.result()
            written = writer.submit(write, data)
        written.result()
        if compressor:
            compressor.finish()
    return WrittenFile(records, size, checksum.hexdigest())


class _Gzip:
    """Compresses what is written, and passes it on."""

    def __init__(self, store: Callable[[bytes], None]):
        self.store = store
        self.compressor = isal_zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW)
        self.pending = bytearray()

    def write(self, data: bytes) -> None:
        self.pending += data
        while len(self.pending) >= GZIP_BLOCK:
            self.store(self.compressor.compress(self.pending[:GZIP_BLOCK]))
            del self.pending[:GZIP_BLOCK]

    def finish(self) -> None:
        self.store(self.compressor.compress(self.pending))
        self.store(self.compressor.flush())


def is_tfrecord(path: AnyPath) -> bool:
    """Whether a file begins like a TFRecord file with records, plain or gzip."""
    with open_file(path) as stored:
        head = stored.read(HEADER.size)
        if head.startswith(GZIP_START):
            stored.seek(0)
            try:
                head = igzip.open(stored).read(HEADER.size)
            except (EOFError, gzip.BadGzipFile, igzip_lib.IsalError):  # type: ignore[misc]
                return False
    return len(head) == HEADER.size and head == _header(HEADER.unpack(head)[0])


@dataclass(frozen=True)
class Damage:
    """What stands in place of a record that is damaged; where `is_last`, what follows it cannot be found."""

    what: str
    is_last: bool = True


def read_records(path: AnyPath, version: str | None = None) -> Iterator[bytes]:
    """The records of a file, plain or gzip whatever its name, each checked against its checksums.

    Raises InputError naming the file and the record where it is truncated or damaged, and where the file is not, or no
    longer, of the version given.
    """
    with open_file(path, version) as stored:
        for number, record in enumerate(scan_records(stored), 1):
            if isinstance(record, Damage):
                raise InputError(
                    f"{os.fspath(path)}, record {number}: {record.what}", way_out="generate the dataset again"
                )
            yield record


def scan_records(stored: BinaryIO) -> Iterator[bytes | Damage]:
    """The records of an open file, plain or gzip, each checked against its checksums, or what is wrong with it.

    After a record that fails its checksum the others follow; after other damage nothing does.
    """
    is_gzip = stored.read(len(GZIP_START)) == GZIP_START
    stored.seek(0)
    file = io.BufferedReader(igzip.open(stored), 1 << 18) if is_gzip else stored
    try:
        while header := file.read(HEADER.size):
            if len(header) < HEADER.size:
                yield Damage("truncated")
                return
            length, _ = HEADER.unpack(header)
            if header != _header(length):
                yield Damage("its length fails its checksum")
                return
            record, footer = file.read(length), file.read(FOOTER.size)
            if len(footer) < FOOTER.size:
                yield Damage("truncated")
                return
            if FOOTER.unpack(footer)[0] != mask_crc(google_crc32c.value(record)):
                yield Damage("fails its checksum", is_last=False)
            else:
                yield record
    except EOFError:
        yield Damage("truncated")
    except (gzip.BadGzipFile, igzip_lib.IsalError):  # type: ignore[misc]
        yield Damage("its gzip stream is damaged")
