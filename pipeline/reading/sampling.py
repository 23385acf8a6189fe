"""A sample of the documents, from windows that are spread evenly over all bytes of all files."""

import io
import math
import os
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from maskmill.pipeline.reading.compression import HEAD_BYTES, compression_of, decompress
from maskmill.pipeline.reading.documents import Document, ReadOptions, Rejected, content_of, digest_of
from maskmill.pipeline.reading.files import PARQUET_START, FilePart
from maskmill.pipeline.reading.parts import read_stream
from maskmill.pipeline.storage.storage import open_file, size_of
from maskmill.tokenizer.errors import DamagedError

WINDOWS = 64
SAMPLE_BYTES = 32_000_000  # of the files as they are stored, in all windows together
MAX_TEXT_BYTES = 48_000_000  # of compressed files when they are decompressed, in all windows together
TEXT_PER_BYTE = 3  # of a compressed file, about
MAX_COLUMN_BYTES = 512_000_000  # of Parquet columns, which can only be read a row group at a time
FILES_PER_WINDOW = 16  # at most, on average: opening files takes time
KEPT_CHARACTERS = 2_000_000  # of documents whose cost is measured; at most twice as many are kept
BLOCK_BYTES = 1 << 14
FEWEST_WINDOWS = 8  # that say something about the error of an estimate
CONFIDENCE = 2.0  # standard errors: 95 of 100 samples lie within


@dataclass(frozen=True)
class Piece:
    """The bytes of a file that belong to a window."""

    window: int
    path: str
    start: int
    length: int
    size: int  # of the whole file


@dataclass
class Window:
    """What was found in a window."""

    stored_bytes: float = 0.0
    documents: int = 0
    content_bytes: int = 0


@dataclass(frozen=True)
class Sample:
    """What some windows of the files hold, and some of their documents."""

    documents: list[Document]  # evenly chosen among those read
    rejected: Counter[str]  # what cannot be used, by reason
    windows: list[Window]
    stored_bytes: int  # of all files
    read_seconds: float  # processor time to read the windows once

    @property
    def share(self) -> float:
        """The share of the input that was read, in bytes as they are stored."""
        return min(1.0, sum(window.stored_bytes for window in self.windows) / max(1, self.stored_bytes))

    @property
    def read_documents(self) -> int:
        """The documents in the windows."""
        return sum(window.documents for window in self.windows)

    @property
    def all_documents(self) -> int:
        """An estimate of the documents in all files; exact when all of the input was read."""
        return round(self.read_documents / max(self.share, 1e-9))

    @property
    def all_content_bytes(self) -> float:
        """An estimate of the bytes of content in all files, see `content_of`."""
        return sum(window.content_bytes for window in self.windows) / max(self.share, 1e-9)

    @property
    def all_read_seconds(self) -> float:
        """An estimate of the processor time to read all files once."""
        return self.read_seconds / max(self.share, 1e-9)

    @property
    def content_bytes(self) -> int:
        """The bytes of content of `documents`."""
        return sum(len(content_of(document.text)) for document in self.documents)

    def margin_of(self, what: str) -> float | None:
        """The 95 % margin of an estimate as a share of it, from how much the windows differ.

        0 when all of the input was read, None when there are too few windows to tell.

        Args:
            what: "documents" or "content_bytes".
        """
        if self.share == 1.0:
            return 0.0
        found = [float(getattr(window, what)) for window in self.windows]
        total, stored = sum(found), sum(window.stored_bytes for window in self.windows)
        if len(found) < FEWEST_WINDOWS or not total:
            return None
        errors = (count - total / stored * window.stored_bytes for count, window in zip(found, self.windows))
        variance = sum(error**2 for error in errors) * len(found) / (len(found) - 1) * (1 - self.share)
        return CONFIDENCE * math.sqrt(variance) / total


def read_sample(files: Sequence[str], options: ReadOptions) -> Sample:
    """Files -> a sample of their documents. The same files give the same sample, in bounded time and memory.

    Plain files are read in the middle, too. Of a compressed file only the beginning can be read, and of a Parquet file
    only whole row groups. Raises InputError where a file that is chosen cannot be read.
    """
    sizes = [size_of(path) for path in files]
    pieces = plan_windows(files, sizes)
    reader = _Reader(options, sum(piece.length for piece in pieces))
    by_path: dict[str, list[Piece]] = defaultdict(list)
    for piece in pieces:
        by_path[piece.path].append(piece)
    started = time.process_time()
    for of_file in by_path.values():
        reader.read_file(of_file)
    seconds = time.process_time() - started
    windows = [window for window in reader.windows.values() if window.stored_bytes]
    return Sample(reader.kept.documents, reader.rejected, windows, sum(sizes), seconds)


def plan_windows(files: Sequence[str], sizes: Sequence[int]) -> list[Piece]:
    """The windows: evenly spread over the files as if they stood one after the other; all bytes where these are few.

    >>> plan_windows(["a", "b"], [10, 20])
    [Piece(window=0, path='a', start=0, length=10, size=10), Piece(window=1, path='b', start=0, length=20, size=20)]
    """
    filled = [(path, size) for path, size in zip(files, sizes) if size]
    total = sum(size for _, size in filled)
    if total <= SAMPLE_BYTES and len(filled) <= WINDOWS * FILES_PER_WINDOW:
        return [Piece(number, path, 0, size, size) for number, (path, size) in enumerate(filled)]
    length = max(1, min(SAMPLE_BYTES // WINDOWS, FILES_PER_WINDOW * total // len(filled)))
    ends = list(accumulate(size for _, size in filled))
    pieces = []
    for window in range(WINDOWS):
        start = (2 * window + 1) * (total - length) // (2 * WINDOWS)
        end = start + length
        file = bisect_right(ends, start)
        while start < end:
            path, size = filled[file]
            first = ends[file] - size
            piece_end = min(end, ends[file])
            pieces.append(Piece(window, path, start - first, piece_end - start, size))
            start, file = piece_end, file + 1
    return pieces


@dataclass
class _Kept:
    """Documents, evenly chosen among all that are added."""

    documents: list[Document] = field(default_factory=list)
    added: int = 0
    every: int = 1
    characters: int = 0

    def add(self, document: Document) -> None:
        """Keeps it when its turn comes; with too many, every second one is given up."""
        self.added += 1
        if self.added % self.every:
            return
        self.documents.append(document)
        self.characters += len(document.text)
        while self.characters > 2 * KEPT_CHARACTERS and len(self.documents) > 1:
            self.documents = self.documents[1::2]
            self.every *= 2
            self.characters = sum(len(one.text) for one in self.documents)


@dataclass
class _Reader:
    """Reads pieces of files; adds up what their windows hold, and keeps some of the documents."""

    options: ReadOptions
    planned_bytes: int
    windows: dict[int, Window] = field(default_factory=lambda: defaultdict(Window))
    rejected: Counter[str] = field(default_factory=Counter)
    kept: _Kept = field(default_factory=_Kept)
    column_bytes: int = 0  # of Parquet, read so far

    def read_file(self, pieces: Sequence[Piece]) -> None:
        """Reads the pieces of a file."""
        with open_file(pieces[0].path) as file:
            head = file.read(HEAD_BYTES)
        if head.startswith(PARQUET_START):
            self._read_parquet(pieces)
        elif compression_of(head):
            with open_file(pieces[0].path) as file:
                self._read_compressed(file, pieces)
        else:
            for piece in pieces:
                self._read_plain(piece)

    def _read_plain(self, piece: Piece) -> None:
        """Reads the documents that begin in a piece of a plain file."""
        end = piece.start + piece.length
        part = FilePart(piece.path, piece.start, None if end == piece.size else end)
        with open_file(piece.path) as file:
            for document in read_stream(part, file, self.options, block_bytes=BLOCK_BYTES):
                self._add(piece.window, document)
        self.windows[piece.window].stored_bytes += piece.length

    def _read_compressed(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        """Reads from the beginning of a compressed file about as many bytes as its pieces have together."""
        path, size, window = pieces[0].path, pieces[0].size, pieces[0].window
        length = sum(piece.length for piece in pieces)
        most = MAX_TEXT_BYTES * length // max(1, self.planned_bytes)
        if length < size:
            most = min(most, TEXT_PER_BYTE * length)
        stream = _Counted(decompress(file, BLOCK_BYTES), file)
        for document in read_stream(FilePart(path), cast(BinaryIO, stream), self.options, block_bytes=BLOCK_BYTES):
            self._add(window, document)
            if stream.count >= most:
                break
        else:
            self.windows[window].stored_bytes += size
            return
        # The library has taken up more than it gave back: up to half a megabyte, or a block of bzip2.
        used, taken = stream.count, file.tell()
        with suppress(DamagedError):
            while file.tell() == taken and stream.read(BLOCK_BYTES):
                pass
        self.windows[window].stored_bytes += taken * used / max(1, stream.count)

    def _read_parquet(self, pieces: Sequence[Piece]) -> None:
        """Reads the beginnings of the row groups in which the pieces of a Parquet file lie."""
        path, size = pieces[0].path, pieces[0].size
        with open_file(path) as file:
            try:
                metadata = pq.ParquetFile(file).metadata
            except (pa.ArrowException, OSError, UnicodeDecodeError):
                metadata = None  # the reader says what is wrong
        if pieces[0].length == size or not metadata or not metadata.num_rows:
            self._read_plain(Piece(pieces[0].window, path, 0, size, size))
            return
        window_of: dict[int, int] = {}  # by row group
        length_of: Counter[int] = Counter()
        for piece in pieces:
            group = (2 * piece.start + piece.length) * metadata.num_row_groups // (2 * size)
            window_of.setdefault(group, piece.window)
            length_of[group] += piece.length
        for group, window in window_of.items():
            if self.column_bytes > MAX_COLUMN_BYTES:
                return
            self.column_bytes += _text_bytes(metadata.row_group(group), self.options.text_field)
            last = first = sum(metadata.row_group(before).num_rows for before in range(group))
            wanted = first + max(1, metadata.num_rows * length_of[group] // size)
            with open_file(path) as file:
                for document in read_stream(FilePart(path, group, group + 1), file, self.options):
                    if document.place > wanted:
                        break
                    last = document.place
                    self._add(window, document)
            self.windows[window].stored_bytes += (last - first) / metadata.num_rows * size

    def _add(self, window: int, document: Document | Rejected) -> None:
        if isinstance(document, Rejected):
            self.rejected[document.reason] += 1
            return
        content = content_of(document.text)
        digest_of(content)  # as a run does, whose time this tells
        self.windows[window].documents += 1
        self.windows[window].content_bytes += len(content)
        self.kept.add(document)


def _text_bytes(group: Any, text_field: str) -> int:
    columns = map(group.column, range(group.num_columns))
    return sum(column.total_compressed_size for column in columns if column.path_in_schema.startswith(text_field))


class _Counted(io.RawIOBase):
    """A decompressed stream that counts the bytes read of it. It can go back to its beginning from the first few."""

    def __init__(self, stream: io.BufferedReader, file: BinaryIO):
        self.stream, self.file = stream, file
        self.count = 0
        self.head = b""  # the first bytes, for whoever goes back to them
        self.is_back = False

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes back to the beginning, after one short read there."""
        assert (offset, whence) == (0, os.SEEK_SET)
        self.is_back = True
        return 0

    def tell(self) -> int:
        """The place in the compressed file."""
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        if self.is_back and self.head:
            data, self.head = self.head[: len(buffer)], self.head[len(buffer) :]
            buffer[: len(data)] = data
            return len(data)
        size = self.stream.readinto1(buffer)
        if not self.count:
            self.head = bytes(buffer[:size])
        self.count += size
        return size
