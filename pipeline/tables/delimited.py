"""CSV and TSV files to rows. A row that may have taken in others is an error: it never stands for them.

A row is a line, and of CSV goes on where the line ends inside of a quoted field.
"""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from typing import Any, BinaryIO, Literal

from maskmill.pipeline.reading.documents import BYTE_ORDER_MARK, MAX_CHARACTERS, Rejected, clip
from maskmill.pipeline.reading.files import BLOCK_BYTES, FilePart
from maskmill.pipeline.tables.quotes import ESCAPE, Quotes, double_quotes
from maskmill.pipeline.tables.table_file import open_table
from maskmill.tokenizer.errors import HiddenRowsError, InputError, first_line

MAX_ROW_BYTES = 100_000_000
DELIMITERS = (",", ";", "\t")  # that a CSV file may have: Excel writes a semicolon where the comma is a decimal point
FEWEST_DELIMITERS = 10  # in a row of several lines, each where that of another row would be: more than coincidence

# What Python's reader says of a carriage return in a field without quotes, and of a quote that is open at the end.
_CARRIAGE_RETURN, _ENDLESS_QUOTE = "new-line character", "unexpected end of data"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)  # as Excel writes before the names of the columns

Delimited = Literal["csv", "tsv"]


@dataclass(frozen=True)
class TablePart(FilePart):
    """A part of a delimited table, and how its fields are quoted."""

    quotes: Quotes | None = None  # of a CSV file; None: whoever reads it finds out, where it matters


class DelimitedReader:
    """The rows of an open CSV or TSV file.

    Python's own reader, because it keeps the place of a row that is malformed. In TSV a quote is a character like
    others, as in GLUE's files and Google's `run_classifier.py`.

    How CSV writes a quote inside of a quoted field is found out when the first line comes where that matters, by the
    whole file: so all who read a part of it find the same.
    """

    def __init__(self, file: BinaryIO, part: FilePart, kind: Delimited):
        """Reads the names of the columns. Raises InputError where the file does not begin with them."""
        self.file, self.part = file, part
        self.is_csv = kind == "csv"
        self.quotes: Quotes | None = part.quotes if isinstance(part, TablePart) else None
        self.bytes_read = self.row_start = 0
        self.last_line = ""
        self.row_quotes = 0  # quote characters in the lines of the row
        self.delimiter = ","
        self.header = self._read_header()

    def rows(self) -> Iterator[list[str] | Rejected]:
        """The rows of the part; of one that cannot be used, why. Blank lines are none.

        Raises InputError for a row that may have taken in others, or is too long.
        """
        if self.part.start:
            self.file.seek(self.part.start)
            self.bytes_read = self.part.start
        rows = self._new_reader(self._lines())
        columns, place, lines = len(self.header), 0, 0
        while self.part.end is None or self.bytes_read < self.part.end:
            self.row_start = self.bytes_read
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                place += 1
                yield Rejected(place, self._explain(error, rows.line_num - lines), clip(self.last_line))
                lines = rows.line_num
                continue
            row_lines = rows.line_num - lines
            lines = rows.line_num
            if len(row) == columns:
                place += 1
                if row_lines > 1 and self._holds_rows(row):
                    raise self._hides_rows(
                        f"takes in {row_lines:,} lines by its quotes, each of which looks like a row"
                    )
                yield row
            elif row:
                place += 1
                if row_lines > 1:
                    what = f"takes in {row_lines:,} lines by its quotes"
                    raise self._hides_rows(f"{what}, and has {len(row):,} fields instead of {columns:,}")
                yield Rejected(place, "not as many fields as the first line", clip(",".join(row)))

    def has_stray_quote(self, row: list[str]) -> bool:
        """Whether a field of the last row holds a quote and is not quoted itself."""
        quotes = sum(field.count('"') for field in row)  # each of them is written twice, between two more
        return quotes > 0 and self.row_quotes < 2 * quotes + 2

    def _read_header(self) -> list[str]:
        lines = self._lines()
        first = next((line for line in lines if line.strip("\r\n")), "")
        if self.is_csv and (separator := _SEPARATOR_LINE.fullmatch(first)):
            self.delimiter, first = separator[1], next(lines, "")
        else:
            self.delimiter = _delimiter_of(first) if self.is_csv else "\t"
        try:
            return next(self._new_reader(chain([first], lines)), [])
        except csv.Error as error:
            if first_line(error).startswith(_CARRIAGE_RETURN):
                self._require_line_feeds(columns=0)
            raise InputError(
                f"begins with a line that is malformed CSV ({first_line(error)})",
                expected="the names of its columns",
                path=self.part.path,
            ) from error

    def _new_reader(self, lines: Iterator[str]) -> Any:
        csv.field_size_limit(MAX_CHARACTERS)
        if self.is_csv:
            return csv.reader(lines, delimiter=self.delimiter, strict=True)
        return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)

    def _lines(self) -> Iterator[str]:
        """The lines as Python's reader takes them. What is not UTF-8 becomes lone surrogates."""
        for line in iter(partial(self.file.readline, MAX_ROW_BYTES), b""):
            text = line.decode(errors="surrogateescape")
            if not self.bytes_read:
                text = text.removeprefix(BYTE_ORDER_MARK)
            is_first = self.bytes_read == self.row_start  # of its row; the others begin inside of a quoted field
            self.bytes_read += len(line)
            if self.bytes_read - self.row_start >= MAX_ROW_BYTES:
                raise HiddenRowsError(
                    f"{self._place()} has more than {MAX_ROW_BYTES:,} bytes; expected shorter rows, so leave it out, "
                    "or close its quotes"
                )
            self.last_line = text
            if self.is_csv and "\\" in text and ESCAPE.search(text):
                if self.quotes is None:
                    self.quotes = find_quotes(self.part)
                if self.quotes == "backslash":
                    text = double_quotes(text, self.delimiter, not is_first)
            self.row_quotes = text.count('"') + (0 if is_first else self.row_quotes)
            yield text

    def _explain(self, error: csv.Error, lines: int) -> str:
        """Why a row of so many lines is none. Raises InputError where it may have taken in others."""
        said = first_line(error)
        if said.startswith(_CARRIAGE_RETURN):
            self._require_line_feeds(len(self.header))
            return "carriage return outside of quotes"
        if said.startswith(_ENDLESS_QUOTE):
            raise self._hides_rows("has a quote that does not end")
        if lines > 1:
            raise self._hides_rows(f"takes in {lines:,} lines by its quotes, and is malformed ({said})")
        return f"malformed CSV ({said})"

    def _require_line_feeds(self, columns: int) -> None:
        """Raises InputError where the last line holds rows that end in carriage returns."""
        if self.last_line.count(self.delimiter) >= columns:
            raise HiddenRowsError(
                f"{self._place()} holds rows that end in carriage returns alone; expected line feeds, so convert the "
                r"file, as with tr '\r' '\n'"
            )

    def _holds_rows(self, row: list[str]) -> bool:
        """Whether each line of a row has the delimiters of a row, and they are too many for a coincidence."""
        lines = self.delimiter.join(row).split("\n")
        between = len(self.header) - 1
        return (len(lines) - 1) * between >= FEWEST_DELIMITERS and all(
            line.count(self.delimiter) == between for line in lines
        )

    def _hides_rows(self, what: str) -> HiddenRowsError:
        return HiddenRowsError(
            f"{self._place()} {what}, so that other rows may be hidden in it; close its quotes and double each quote "
            "that is part of a text, copy the file again if it was cut off, or give the table as JSON lines or Parquet"
        )

    def _place(self) -> str:
        """The row that is being read, in words."""
        lines, left = 1, self.row_start
        with open_table(FilePart(self.part.path, version=self.part.version)) as stream:
            while block := stream.read(min(left, BLOCK_BYTES)):
                lines += block.count(b"\n")
                left -= len(block)
        return f"{self.part.path}: the row that begins in line {lines:,}, at byte {self.row_start:,},"


def _delimiter_of(line: str) -> str:
    """The delimiter of a CSV file that begins with this line: a comma, unless another one alone divides it."""
    for delimiter in DELIMITERS:
        if len(next(csv.reader(line.splitlines()[:1], delimiter=delimiter), [])) > 1:
            return delimiter
    return ","


def cut_at_rows(path: str, version: str | None, kind: Delimited, part_bytes: int) -> Iterator[TablePart]:
    """A CSV or TSV file in parts of about so many bytes, cut between two rows, which only its reader knows.

    A line end may stand in a quoted field, so that no line tells by itself where a row begins.
    """
    number, start = count(), 0
    with open_table(FilePart(path, version=version)) as stream:
        reader = DelimitedReader(stream, FilePart(path, version=version), kind)
        for _ in reader.rows():
            if reader.bytes_read - start >= part_bytes:
                yield TablePart(path, start, reader.bytes_read, next(number), version, quotes=reader.quotes)
                start = reader.bytes_read
        if reader.bytes_read > start:
            yield TablePart(path, start, reader.bytes_read, next(number), version, quotes=reader.quotes)


def find_quotes(part: FilePart) -> Quotes:
    """How a CSV file writes a quote inside of a quoted field: as RFC 4180 has it, unless rows are lost by that.

    Reads the whole file.
    """
    if not _has_escaped_quote(part):
        return "doubled"
    doubled = _count_bad(part, "doubled")
    return "backslash" if doubled and _count_bad(part, "backslash") < doubled else "doubled"


def _has_escaped_quote(part: FilePart) -> bool:
    with open_table(FilePart(part.path, version=part.version)) as stream:
        last = b""
        while block := stream.read(BLOCK_BYTES):
            if b'\\"' in last + block[:1] or b'\\"' in block:
                return True
            last = block[-1:]
    return False


def _count_bad(part: FilePart, quotes: Quotes) -> float:
    """The rows of a file that no writer of such quotes makes; infinite where one hides others."""
    whole = TablePart(part.path, version=part.version, quotes=quotes)
    with open_table(whole) as stream:
        try:
            reader = DelimitedReader(stream, whole, "csv")
            return sum(isinstance(row, Rejected) or reader.has_stray_quote(row) for row in reader.rows())
        except HiddenRowsError:
            return math.inf
