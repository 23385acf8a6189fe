"""Compressed files, told by their first bytes, whatever their names."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from typing import Any, BinaryIO

import pyarrow as pa
from isal import igzip, igzip_lib

from maskmill.tokenizer.errors import DamagedError, NeedsMemoryError

HEAD_BYTES = 8  # enough to tell how a file is compressed
SKIPPABLE = {bytes([first]) + b"\x2a\x4d\x18": "zstd" for first in range(0x50, 0x60)}  # frames, as pzstd begins with
COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", **SKIPPABLE, b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
READ_BYTES = 1 << 16
XZ_MEMORY = 1 << 28  # to unpack a file; xz -9 takes a quarter of it. Arrow gives zstd half as much
SUFFIXES = (".gz", ".zst", ".bz2", ".xz")


def tells_of_data(error: OSError) -> bool:
    """Whether it comes from what is read (as bz2 and Arrow have it), not from a file, a disk or a network."""
    return type(error) is OSError and error.errno is None


def compression_of(head: bytes) -> str | None:
    """How a file that begins like this is compressed; None where it is not."""
    return next((name for start, name in COMPRESSED.items() if head.startswith(start)), None)


def decompress(file: BinaryIO, block_bytes: int) -> io.BufferedReader:
    """The bytes of an open file, plain or compressed. Reading a damaged one raises DamagedError."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    stream: Any
    match compression_of(head):
        case "gzip":
            stream = _Decompressed(igzip.open(file))
        case "zstd":
            stream = _Decompressed(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))
        case "bzip2":
            stream = _Decompressed(_Streams(file, bz2.BZ2Decompressor, b""))
        case "xz":
            stream = _Decompressed(_Streams(file, lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY), b"\0"))
        case _:
            stream = file
    return io.BufferedReader(stream, block_bytes)


def _find_fault(error: Exception) -> DamagedError:
    """What a library's error means; zstd and lzma tell want of memory by their words alone."""
    return NeedsMemoryError(str(error)) if "memory" in str(error).lower() else DamagedError(str(error))


class _Decompressed(io.RawIOBase):
    """What a library decompresses; each of them has its own errors for damaged data."""

    def __init__(self, stream: Any):
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.stream.read(len(buffer))
        except (EOFError, gzip.BadGzipFile, igzip_lib.IsalError, lzma.LZMAError) as error:  # type: ignore[misc]
            raise _find_fault(error) from error
        except OSError as error:
            if tells_of_data(error):
                raise _find_fault(error) from error
            raise
        buffer[: len(data)] = data
        return len(data)


class _Streams:
    """One or several compressed streams, one after the other.

    Python's own readers take a damaged stream after the first for the end of the file.
    """

    def __init__(self, file: BinaryIO, new_decompressor: Callable[[], Any], padding: bytes):
        self.file = file
        self.new_decompressor = new_decompressor
        self.padding = padding  # that may stand between streams
        self.current: Any = None  # the decompressor of the stream that has begun
        self.pending = b""  # what is read and not yet decompressed

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        while self.current or self._begin():
            compressed = b""
            if self.current.needs_input:
                compressed, self.pending = self.pending or self.file.read(READ_BYTES), b""
                if not compressed:
                    raise EOFError("it ends within a stream")
            data: bytes = self.current.decompress(compressed, size)
            if self.current.eof:
                self.pending = self.current.unused_data.lstrip(self.padding)
                self.current = None
            if data:
                return data
        return b""

    def _begin(self) -> bool:
        """Begins the next stream; False where there is none."""
        while not self.pending:
            compressed = self.file.read(READ_BYTES)
            if not compressed:
                return False
            self.pending = compressed.lstrip(self.padding)
        self.current = self.new_decompressor()
        return True
