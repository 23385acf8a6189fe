"""Files: which ones an input names, the parts in which workers read them, and their lines."""

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from maskmill.pipeline.reading.compression import HEAD_BYTES, compression_of
from maskmill.pipeline.reading.documents import MAX_DOCUMENT_BYTES
from maskmill.pipeline.storage.storage import find_files, is_remote, open_file, size_of, version_of
from maskmill.tokenizer.errors import InputError

PART_BYTES = 32_000_000
MOST_PARTS = 500  # small files that are read one after the other
BLOCK_BYTES = 1 << 20
PARQUET_START = b"PAR1"

CARDS = ("readme.md", "dataset_infos.json", "dataset_info.json", "dataset_dict.json")
NOTES = re.compile(
    r"(readme|licen[cs]e|copying|notice|citation|authors|changelog|contributing|code_of_conduct)([._-].*)?|state\.json|.*\.py"
)
TABLE_NAME = re.compile(r"\.(parquet|jsonl|ndjson)(\.(gz|zst|bz2|xz))?$")

LineBlocks = Iterator[tuple[bytearray, bool]]  # see `read_lines`


@dataclass(frozen=True)
class FilePart:
    """The lines of a file that begin from byte `start` on and before byte `end`; row groups where it is Parquet."""

    path: str
    start: int = 0
    end: int | None = None  # None: up to the last
    number: int = 0  # among the parts of all files
    version: str | None = None  # of the file when it was listed, see `version_of`
    size: int = 0  # bytes as they are stored, about


class Listing(NamedTuple):
    """The files that inputs name: those to read, and those of a repository that are skipped."""

    files: list[str]  # sorted, each once
    left_out: list[str]  # that describe a repository and are no documents


def list_files(inputs: Iterable[str]) -> list[str]:
    """The files of `list_inputs` that are read."""
    return list_inputs(inputs).files


def list_inputs(inputs: Iterable[str]) -> Listing:
    """The files that paths, folders and glob patterns name.

    A folder stands for every file below it, but for hidden ones. Of a folder or a pattern, the files that describe a
    repository are left out, see `find_cards`; a file that is named itself never is. Raises InputError for an input that
    names no file.
    """
    files: set[str] = set()
    named: set[str] = set()  # by their own names
    cards: set[str] = set()
    for name in inputs:
        found = find_files(name)
        if not found:
            raise InputError(
                f"INPUT {name} names no file", way_out="give a file, a folder, or a pattern such as 'data/*.txt'"
            )
        paths = [path if is_remote(path) else os.path.normpath(path) for path in found]
        files.update(paths)
        if found == [name]:
            named.update(paths)
        else:
            cards.update(find_cards(paths))
    return Listing(sorted(files - cards | named), sorted(cards - named))


def find_cards(paths: Sequence[str]) -> Iterator[str]:
    """The files of a folder that describe the repository that it is, as folders of the Hugging Face hub are.

    The description of a dataset always is such a file. Where there is one, or where there are files of Parquet or JSON
    lines, so are a licence, notes and scripts.

    >>> list(find_cards(["wiki/README.md", "wiki/LICENSE", "wiki/data/train.parquet"]))
    ['wiki/README.md', 'wiki/LICENSE']
    """
    names = [os.path.basename(path).lower() for path in paths]
    is_repository = any(name in CARDS or TABLE_NAME.search(name) for name in names)
    for path, name in zip(paths, names):
        if name in CARDS or (is_repository and NOTES.fullmatch(name)):
            yield path


def list_parts(inputs: Iterable[str], part_bytes: int = PART_BYTES) -> Iterator[FilePart]:
    """The files that inputs name, large ones in parts, but for compressed ones, which cannot be entered midway."""
    number = count()
    for path in list_files(inputs):
        version = version_of(path)
        for start, end, size in _cut_file(path, part_bytes):
            yield FilePart(path, start, end, next(number), version, size)


def group_parts(parts: Iterable[FilePart], group_bytes: int = PART_BYTES) -> Iterator[list[FilePart]]:
    """Parts that follow each other, together, as long as they are no more than so many bytes: small files."""
    group: list[FilePart] = []
    size = 0
    for part in parts:
        if group and (size + part.size > group_bytes or len(group) == MOST_PARTS):
            yield group
            group, size = [], 0
        group.append(part)
        size += part.size
    if group:
        yield group


def most_parts(files: Sequence[str], part_bytes: int = PART_BYTES) -> int:
    """As many parts as the files may have; a compressed file has fewer."""
    return sum(max(1, -(-size_of(path) // part_bytes)) for path in files)


def _cut_file(path: str, part_bytes: int) -> Iterator[tuple[int, int | None, int]]:
    """Where parts begin and end, see `FilePart`, and their bytes."""
    size, head = size_of(path), b""
    if size > part_bytes:
        with open_file(path) as file:
            head = file.read(HEAD_BYTES)
    if head.startswith(PARQUET_START) and (groups := _count_row_groups(path)):
        step = max(1, groups * part_bytes // size)
        yield from ((start, start + step, size * step // groups) for start in range(0, groups, step))
    elif size <= part_bytes or compression_of(head) or head.startswith(PARQUET_START):
        yield 0, None, size
    else:
        yield from ((at, at + part_bytes, min(part_bytes, size - at)) for at in range(0, size, part_bytes))


def _count_row_groups(path: str) -> int:
    try:
        with open_file(path) as file:
            return int(pq.ParquetFile(file).num_row_groups)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return 0  # whoever reads it says what is wrong


def read_lines(
    stream: io.BufferedReader, part: FilePart, block_bytes: int, longest: int = MAX_DOCUMENT_BYTES
) -> LineBlocks:
    """Whole lines in blocks, and whether they begin in the part. Those after it follow, for whoever needs them.

    Of a line of more than `longest` bytes one byte more is given, at least: its length tells whoever gets it. The rest
    is read and not held.
    """
    at = part.start
    if at:
        stream.seek(at - 1)
        at += _skip_line(stream, block_bytes) - 1
        stream.seek(at)
    for data, size in _read_blocks(stream, block_bytes, longest):
        mine = len(data)
        if part.end is not None and at + size > part.end:
            mine = data.find(b"\n", part.end - at - 1) + 1 or len(data) if at < part.end else 0
        if mine == len(data):
            yield data, True
        else:
            if mine:
                yield data[:mine], True
            yield data[mine:], False
        at += size


def _skip_line(stream: io.BufferedReader, block_bytes: int) -> int:
    """The bytes up to and with the next line end, or up to the end of the stream."""
    skipped = 0
    while block := stream.read(block_bytes):
        if end := block.find(b"\n") + 1:
            return skipped + end
        skipped += len(block)
    return skipped


def _read_blocks(stream: io.BufferedReader, block_bytes: int, longest: int) -> Iterator[tuple[bytearray, int]]:
    """Blocks of at least one whole line, and the bytes that they are in the file."""
    begun = bytearray()  # grows in place: a line of 1 GB is not held twice
    while block := stream.read(block_bytes):
        begun += block
        if end := begun.rfind(b"\n", len(begun) - len(block)) + 1:
            rest = begun[end:]
            del begun[end:]
            yield begun, len(begun)
            begun = rest
        elif len(begun) > longest:
            size = len(begun) + _skip_rest(stream)
            begun[longest:] = b"x\n"  # whose end no reader takes for blanks
            yield begun, size
            begun = bytearray()
    if begun:
        yield begun, len(begun)


def _skip_rest(stream: io.BufferedReader) -> int:
    """The bytes of a line from here on, with its end."""
    skipped = 0
    while piece := stream.readline(BLOCK_BYTES):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


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
