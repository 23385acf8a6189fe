"""Tables of texts with labels, in CSV, TSV, JSON lines or Parquet, to rows in their order, in constant memory.

A row that cannot be used keeps its place, with the reason: whoever reads decides what becomes of it.
"""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import Any, BinaryIO, get_args

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.compression import SUFFIXES, DamagedError, compression_of, decompress, tells_of_data
from pipeline.documents import BYTE_ORDER_MARK, MAX_CHARACTERS, Rejected, clip
from pipeline.files import BLOCK_BYTES, PARQUET_START, FilePart, LineBlocks, list_parts, read_lines
from pipeline.formats import column_of, decode_strings, field_of, is_text, type_of
from pipeline.reading import PEEK_BYTES, require_no_array, require_text
from pipeline.storage import open_file, size_of, version_of
from pipeline.tables.fields import Fields, TableFormat
from tokenizer.errors import InputError, first_line

FORMAT_OF_SUFFIX: dict[str, TableFormat] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet",
}  # fmt: skip
ROWS_PER_BATCH = 256

# What Python's reader says where a quote is open at the end of the file, or for longer than any text.
_ENDLESS_QUOTE = ("unexpected end of data", "field larger than field limit")


@dataclass(frozen=True, slots=True)
class Row:
    """A text or a pair of texts, with its label where that was asked for."""

    place: int  # among the rows of the file, the first being 1; of JSON lines the number of the line
    text: str
    text_pair: str | None = None
    label: str | None = None


def read_rows(part: FilePart, fields: Fields, named: TableFormat = "auto") -> Iterator[Row | Rejected]:
    """The rows of a part of a table, in their order; places count from the beginning of the part.

    Raises InputError when the file cannot be read, is damaged, or does not have the fields.
    """
    with _open_table(part) as stream:
        kind = _detect(part.path, stream, named)
        match kind:
            case "parquet":
                yield from _read_parquet(stream, part, fields)
            case "jsonl":
                yield from _read_jsonl(read_lines(stream, part, BLOCK_BYTES), fields)
            case _:
                yield from _read_delimited(stream, part, fields, kind)


def list_table_parts(path: str, part_bytes: int, named: TableFormat = "auto") -> Iterator[FilePart]:
    """A table in parts of about so many bytes, a function of the file alone; a compressed one is one part."""
    with _open_table(FilePart(path)) as stream:
        kind = _detect(path, stream, named)
    with open_file(path) as file:
        is_plain = not compression_of(file.read(8))
    if kind not in ("csv", "tsv") or not is_plain or size_of(path) <= part_bytes:
        yield from list_parts([path], part_bytes)
        return
    version, number = version_of(path), count()
    for start, end in pairwise(_cut_at_rows(path, kind, part_bytes)):
        yield FilePart(path, start, end, next(number), version)


def _cut_at_rows(path: str, kind: TableFormat, part_bytes: int) -> Iterator[int]:
    """Where parts of a CSV or TSV file begin, and its end: between two rows, which only its reader knows.

    A line end may stand in a quoted field, so that no line tells by itself where a row begins.
    """
    with open_file(path) as file:
        lines = _CountedLines(file)
        rows = _rows_of(lines, path, kind)
        start = 0
        yield start
        for _ in rows:
            if lines.bytes_read - start >= part_bytes:
                start = lines.bytes_read
                yield start
        if lines.bytes_read > start:
            yield lines.bytes_read


class _CountedLines:
    """The lines of a file as text, and how many bytes they were so far. What is not UTF-8 becomes lone surrogates."""

    def __init__(self, file: BinaryIO, start: int = 0, end: int | None = None):
        self.lines = iter(file)
        self.bytes_read = start
        self.end = end

    def __iter__(self) -> "_CountedLines":
        return self

    def __next__(self) -> str:
        if self.end is not None and self.bytes_read >= self.end:
            raise StopIteration
        line = next(self.lines)
        text = line.decode(errors="surrogateescape")
        if not self.bytes_read:
            text = text.removeprefix(BYTE_ORDER_MARK)
        self.bytes_read += len(line)
        return text


def _rows_of(lines: _CountedLines, path: str, kind: TableFormat) -> Iterator[list[str] | str]:
    """The rows of a CSV or TSV file as lists, or in words what is wrong with one. Blank lines are none.

    Python's own reader, because it keeps the place of a row that is malformed. In TSV a quote is a character like
    others, as in GLUE's files and Google's `run_classifier.py`. Raises InputError for a quote that does not end: nobody
    knows how many rows it hides.
    """
    if kind == "tsv":
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(lines, strict=True)
    csv.field_size_limit(MAX_CHARACTERS)
    while True:
        begin = lines.bytes_read
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if str(error).startswith(_ENDLESS_QUOTE):
                raise InputError(
                    f"{path} has a row, {begin:,} bytes after its beginning, whose quote does not end; close it, "
                    "double it if it is part of the text, or copy the file again if it was cut off"
                ) from error
            yield f"malformed CSV ({first_line(error)})"
            continue
        if row:
            yield row


def _read_delimited(stream: BinaryIO, part: FilePart, fields: Fields, kind: TableFormat) -> Iterator[Row | Rejected]:
    header_lines = _CountedLines(stream)
    header = next(_rows_of(header_lines, part.path, kind), [])
    if isinstance(header, str):
        raise InputError(f"{part.path} begins with a line that is {header}; expected the names of its columns")
    for name in fields.names:
        if header.count(name) != 1:
            what = "several columns" if name in header else "no column"
            raise InputError(
                f"{part.path} has {what} {name}; its first line has {', '.join(map(clip, header)) or 'nothing'}"
            )
    columns = [header.index(name) for name in fields.names]
    header_lines.end = part.end
    lines = header_lines
    if part.start:
        stream.seek(part.start)
        lines = _CountedLines(stream, part.start, part.end)
    for place, row in enumerate(_rows_of(lines, part.path, kind), start=1):
        if isinstance(row, str):
            yield Rejected(place, row)
        elif len(row) != len(header):
            yield Rejected(place, "not as many fields as the first line", clip(",".join(row)))
        else:
            yield _make_row(place, [row[column] for column in columns], fields)


def _read_jsonl(blocks: LineBlocks, fields: Fields) -> Iterator[Row | Rejected]:
    place = 0
    for data, begins_in_part in blocks:
        if not begins_in_part:
            return
        for line in data.removesuffix(b"\n").split(b"\n"):
            place += 1
            if line.strip():
                yield _read_json(bytes(line), place, fields)


def _read_json(line: bytes, place: int, fields: Fields) -> Row | Rejected:
    excerpt = clip(line.decode(errors="replace"))
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            record = json.loads(line)  # takes what orjson does not, such as NaN in a field that nobody asks for
        except UnicodeDecodeError:
            return Rejected(place, "invalid UTF-8", excerpt)
        except (ValueError, RecursionError):
            return Rejected(place, "malformed JSON", excerpt)
    values = []
    for name in fields.names:
        try:
            values.append(field_of(record, name))
        except KeyError:
            return Rejected(place, f"no field {name!r}", excerpt)
    return _make_row(place, values, fields)


def _read_parquet(stream: BinaryIO, part: FilePart, fields: Fields) -> Iterator[Row | Rejected]:
    table = pq.ParquetFile(stream if stream.seekable() else io.BytesIO(stream.read()))
    there = ", ".join(f"{field.name} ({field.type})" for field in table.schema_arrow)
    for name in fields.names:
        kind = type_of(table.schema_arrow, name)
        if kind is None or table.schema_arrow.names.count(name) > 1:
            raise InputError(f"{part.path} has {'no' if kind is None else 'several'} column {name}; it has {there}")
        is_label = name == fields.label_field and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
        if not is_text(kind) and not is_label:
            expected = "text, or whole numbers" if name == fields.label_field else "text"
            raise InputError(f"{part.path}: column {name} is {kind}; expected {expected}, it has {there}")
    end = table.num_row_groups if part.end is None else min(part.end, table.num_row_groups)
    place = 0
    for batch in table.iter_batches(ROWS_PER_BATCH, row_groups=list(range(part.start, end)), columns=fields.names):
        columns = [column_of(batch, name) for name in fields.names]
        values = [decode_strings(column) if is_text(column.type) else column.to_pylist() for column in columns]
        for row in zip(*values):
            place += 1
            yield _make_row(place, list(row), fields)


def _make_row(place: int, values: list[Any], fields: Fields) -> Row | Rejected:
    """The values of `fields.names` -> the row that they are, or why they are none."""
    excerpt = clip(" ".join(str(value) for value in values))
    for name, value in zip(fields.names, values):
        if value is None:
            return Rejected(place, f"field {name!r} is null", excerpt)
        is_label = name == fields.label_field
        if not isinstance(value, str) and not (is_label and isinstance(value, int)):
            return Rejected(place, f"field {name!r} is no {'label' if is_label else 'text'}", excerpt)
        if isinstance(value, str):
            if not value.strip():
                return Rejected(place, f"field {name!r} is empty", excerpt)
            try:
                value.encode()
            except UnicodeEncodeError:
                return Rejected(place, "invalid UTF-8", excerpt)
    text, *others = values[: len(fields.texts)]
    label = values[-1] if fields.label_field else None
    if isinstance(label, bool):
        label = str(label).lower()  # as JSON writes it
    return Row(place, text, others[0] if others else None, None if label is None else str(label).strip())


def _detect(path: str, stream: io.BufferedReader, named: TableFormat) -> TableFormat:
    """What the file is: as named, else Parquet by its beginning, the others by its name."""
    if named not in get_args(TableFormat):
        raise InputError(f"input_format is {named}; expected {', '.join(get_args(TableFormat))}")
    head = stream.peek(PEEK_BYTES)[:PEEK_BYTES]
    is_parquet = head.startswith(PARQUET_START)
    if named == "parquet" and not is_parquet:
        raise InputError(f"{path} is not a Parquet file; use --input-format auto, or give a Parquet file")
    if is_parquet and named in ("auto", "parquet"):
        return "parquet"
    require_text(path, head)
    kind = kind_of_name(path) if named == "auto" else named
    if kind is None or kind == "parquet":
        raise InputError(
            f"{path} does not tell its format by its name; say it with --input-format csv, tsv, jsonl or parquet"
        )
    if kind == "jsonl":
        require_no_array(path, head)
    return kind


def kind_of_name(path: str) -> TableFormat | None:
    """The format that the name of a file tells, whatever it is compressed with; None where it tells none.

    >>> kind_of_name("reviews.CSV.gz"), kind_of_name("reviews.txt")
    ('csv', None)
    """
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in SUFFIXES]
    return FORMAT_OF_SUFFIX.get(suffixes[-1].lower()) if suffixes else None


@contextmanager
def _open_table(part: FilePart) -> Iterator[io.BufferedReader]:
    """A part's file, decompressed. Raises InputError where it is damaged."""
    try:
        with open_file(part.path, part.version) as file, decompress(file, BLOCK_BYTES) as stream:
            yield stream
    except (DamagedError, pa.ArrowException) as error:
        raise InputError(f"{part.path} is cut off or damaged ({first_line(error)}); copy it again") from error
    except OSError as error:
        if not tells_of_data(error):
            raise
        raise InputError(f"{part.path} is cut off or damaged ({first_line(error)}); copy it again") from error
