"""TFRecord files: each record framed by its length and two checksums.

Format: uint64 length, masked CRC32C of the length, the record, masked CRC32C of the record; little endian.
Source: `tensorflow/core/lib/io/record_writer.h`.
"""

import hashlib
import os
import struct
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
from isal import igzip

from tokenizer.errors import InputError

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")


@dataclass(frozen=True)
class WrittenFile:
    """What was written: records, bytes of the file, and its checksum."""

    records: int
    bytes: int
    sha256: str


def masked_crc(data: bytes) -> int:
    """The checksum that TFRecord stores: CRC32C, rotated right by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(record: bytes) -> bytes:
    """A record as it stands in the file."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, FOOTER.pack(masked_crc(length)), record, FOOTER.pack(masked_crc(record))))


def write_records(path: str | os.PathLike[str], batches: Iterable[Iterable[bytes]]) -> WrittenFile:
    """Writes batches of records to a file that appears under its name only when it is whole.

    Raises InputError when there is no room for it, or no permission.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    checksum = hashlib.sha256()
    records = size = 0
    try:
        with temporary.open("wb") as file:
            for batch in batches:
                frames = [frame(record) for record in batch]
                data = b"".join(frames)
                file.write(data)
                checksum.update(data)
                records += len(frames)
                size += len(data)
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); make room, or give another output") from error
    finally:
        temporary.unlink(missing_ok=True)
    return WrittenFile(records, size, checksum.hexdigest())


def read_records(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """The records of a file, plain or `.gz`, each checked against its checksums.

    Raises InputError naming the file and the record where it is cut off or damaged.
    """
    name = os.fspath(path)
    number = 0
    with igzip.open(name) if name.endswith(".gz") else open(name, "rb") as file:
        while header := file.read(HEADER.size):
            number += 1
            if len(header) < HEADER.size:
                raise InputError(f"{name}, record {number}: cut off; generate the dataset again")
            length, length_crc = HEADER.unpack(header)
            if masked_crc(header[:8]) != length_crc:
                raise InputError(f"{name}, record {number}: its length fails its checksum; generate the dataset again")
            body = file.read(length + FOOTER.size)
            if len(body) < length + FOOTER.size:
                raise InputError(f"{name}, record {number}: cut off; generate the dataset again")
            record = body[:length]
            if FOOTER.unpack(body[length:])[0] != masked_crc(record):
                raise InputError(f"{name}, record {number}: fails its checksum; generate the dataset again")
            yield record
