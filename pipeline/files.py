"""Files: which ones an input names, the parts in which workers read them, and their bytes."""

import glob
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from isal import igzip

from tokenizer.errors import InputError

PART_BYTES = 32_000_000
BLOCK_BYTES = 1 << 20
GZIP_START = b"\x1f\x8b"


@dataclass(frozen=True)
class FilePart:
    """The lines of a file that begin from byte `start` on and before byte `end`."""

    path: str
    start: int = 0
    end: int | None = None  # None: up to the last


def list_files(inputs: Iterable[str]) -> list[str]:
    """The files that paths, folders and glob patterns name, sorted, each once.

    A folder stands for every file below it, but for hidden ones. Raises InputError for one that names no file.
    """
    files: set[str] = set()
    for name in inputs:
        if "://" in name:
            raise InputError(f"INPUT {name} is not on this machine; this version reads local files, copy it here first")
        if os.path.isdir(name):
            found = [str(path) for path in Path(name).rglob("*") if path.is_file() and not _is_hidden(path, Path(name))]
        elif os.path.exists(name):
            found = [name]
        else:
            found = [path for path in glob.glob(name, recursive=True) if os.path.isfile(path)]
        if not found:
            raise InputError(f"INPUT {name} names no file; give a file, a folder, or a pattern such as 'data/*.txt'")
        files.update(os.path.normpath(path) for path in found)
    return sorted(files)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def list_parts(inputs: Iterable[str], part_bytes: int = PART_BYTES) -> Iterator[FilePart]:
    """The files that inputs name, large ones in parts, but for compressed ones, which cannot be entered midway."""
    for path in list_files(inputs):
        size = os.path.getsize(path)
        if size <= part_bytes or _is_compressed(path):
            yield FilePart(path)
        else:
            for start in range(0, size, part_bytes):
                yield FilePart(path, start, start + part_bytes)


def _is_compressed(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(len(GZIP_START)) == GZIP_START


def decompress(file: BinaryIO, block_bytes: int) -> io.BufferedReader:
    """The bytes of an open file, plain or gzip, whatever its name."""
    is_gzip = file.read(len(GZIP_START)) == GZIP_START
    file.seek(0)
    return io.BufferedReader(igzip.open(file) if is_gzip else file, block_bytes)  # type: ignore[arg-type]


def read_lines(stream: io.BufferedReader, part: FilePart, block_bytes: int) -> Iterator[tuple[bytes, bool]]:
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
        if mine:
            yield data[:mine], True
        if mine < len(data):
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


def _read_blocks(stream: io.BufferedReader, block_bytes: int) -> Iterator[bytes]:
    """Blocks of at least one whole line."""
    begun: list[bytes] = []  # a line whose end is not read yet
    while block := stream.read(block_bytes):
        if end := block.rfind(b"\n") + 1:
            yield b"".join([*begun, block[:end]])
            begun = [block[end:]]
        else:
            begun.append(block)
    if any(begun):
        yield b"".join(begun)


def count_lines_before(part: FilePart) -> int:
    """The number of lines of a plain file that begin before the part does."""
    lines, left = 1, part.start - 1  # the line end from there on is the last one before the part
    with open(part.path, "rb") as file:
        while block := file.read(min(BLOCK_BYTES, left)):
            lines += block.count(b"\n")
            left -= len(block)
    return lines
