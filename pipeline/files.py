"""Files: which ones an input names, the parts in which workers read them, and their lines."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.compression import HEAD_BYTES, compression_of
from pipeline.storage import find_files, is_remote, open_file, size_of, version_of
from tokenizer.errors import InputError

PART_BYTES = 32_000_000
BLOCK_BYTES = 1 << 20
PARQUET_START = b"PAR1"

LineBlocks = Iterator[tuple[bytearray, bool]]  # see `read_lines`


@dataclass(frozen=True)
class FilePart:
    """The lines of a file that begin from byte `start` on and before byte `end`; row groups where it is Parquet."""

    path: str
    start: int = 0
    end: int | None = None  # None: up to the last
    number: int = 0  # among the parts of all files
    version: str | None = None  # of the file when it was listed, see `version_of`


def list_files(inputs: Iterable[str]) -> list[str]:
    """The files that paths, folders and glob patterns name, sorted, each once.

    A folder stands for every file below it, but for hidden ones. Raises InputError for one that names no file.
    """
    files: set[str] = set()
    for name in inputs:
        found = find_files(name)
        if not found:
            raise InputError(f"INPUT {name} names no file; give a file, a folder, or a pattern such as 'data/*.txt'")
        files.update(path if is_remote(path) else os.path.normpath(path) for path in found)
    return sorted(files)


def list_parts(inputs: Iterable[str], part_bytes: int = PART_BYTES) -> Iterator[FilePart]:
    """The files that inputs name, large ones in parts, but for compressed ones, which cannot be entered midway."""
    number = count()
    for path in list_files(inputs):
        version = version_of(path)
        for start, end in _cut_file(path, part_bytes):
            yield FilePart(path, start, end, next(number), version)


def most_parts(files: Sequence[str], part_bytes: int = PART_BYTES) -> int:
    """As many parts as the files may have; a compressed file has fewer."""
    return sum(max(1, -(-size_of(path) // part_bytes)) for path in files)


def _cut_file(path: str, part_bytes: int) -> Iterator[tuple[int, int | None]]:
    size, head = size_of(path), b""
    if size > part_bytes:
        with open_file(path) as file:
            head = file.read(HEAD_BYTES)
    if head.startswith(PARQUET_START) and (groups := _count_row_groups(path)):
        step = max(1, groups * part_bytes // size)
        yield from ((start, start + step) for start in range(0, groups, step))
    elif size <= part_bytes or compression_of(head) or head.startswith(PARQUET_START):
        yield 0, None
    else:
        yield from ((start, start + part_bytes) for start in range(0, size, part_bytes))


def count_rows(path: str) -> int:
    """The rows of a Parquet file; 0 where it is none."""
    with open_file(path) as file:
        is_parquet = file.read(HEAD_BYTES).startswith(PARQUET_START)
        return int(pq.ParquetFile(file).metadata.num_rows) if is_parquet else 0


def _count_row_groups(path: str) -> int:
    try:
        with open_file(path) as file:
            return int(pq.ParquetFile(file).num_row_groups)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return 0  # whoever reads it says what is wrong


def read_lines(stream: io.BufferedReader, part: FilePart, block_bytes: int) -> LineBlocks:
    """Whole lines in blocks, and whether they begin in the part. Those after it follow, for whoever needs them."""
    at = part.start
    if at:
        stream.seek(at - 1)
        at += _skip_line(stream, block_bytes) - 1
        stream.seek(at)
    for data in _read_blocks(stream, block_bytes):
        mine = len(data)
        if part.end is not None and at + len(data) > part.end:
            mine = data.find(b"\n", part.end - at - 1) + 1 or len(data) if at < part.end else 0
        if mine == len(data):
            yield data, True
        else:
            if mine:
                yield data[:mine], True
            yield data[mine:], False
        at += len(data)


def _skip_line(stream: io.BufferedReader, block_bytes: int) -> int:
    """The bytes up to and with the next line end, or up to the end of the stream."""
    skipped = 0
    while block := stream.read(block_bytes):
        if end := block.find(b"\n") + 1:
            return skipped + end
        skipped += len(block)
    return skipped


def _read_blocks(stream: io.BufferedReader, block_bytes: int) -> Iterator[bytearray]:
    """Blocks of at least one whole line."""
    begun = bytearray()  # grows in place: a line of 1 GB is not held twice
    while block := stream.read(block_bytes):
        begun += block
        if end := begun.rfind(b"\n", len(begun) - len(block)) + 1:
            rest = begun[end:]
            del begun[end:]
            yield begun
            begun = rest
    if begun:
        yield begun


def count_lines_before(part: FilePart) -> int:
    """The number of lines that begin before a part of a plain file does; 0 where its places count from the first."""
    with open_file(part.path, part.version) as file:
        if not part.start or file.read(HEAD_BYTES).startswith(PARQUET_START):
            return 0
        file.seek(0)
        lines, left = 1, part.start - 1  # the line end from there on is the last one before the part
        while block := file.read(min(BLOCK_BYTES, left)):
            lines += block.count(b"\n")
            left -= len(block)
    return lines
