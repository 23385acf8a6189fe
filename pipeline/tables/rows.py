"""Tables of texts with labels, in CSV, TSV, JSON lines or Parquet, to rows in their order, in constant memory.

A row that cannot be used keeps its place, with the reason: whoever reads decides what becomes of it.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

import pyarrow as pa
import pyarrow.compute as pc

from maskmill.pipeline.reading.compression import SUFFIXES, compression_of
from maskmill.pipeline.reading.documents import Rejected, clip, clip_value
from maskmill.pipeline.reading.files import (
    BLOCK_BYTES,
    PARQUET_START,
    FilePart,
    count_lines_before,
    list_parts,
    read_lines,
)
from maskmill.pipeline.reading.json_lines import (
    BadLineError,
    BlankLineError,
    MalformedLineError,
    excerpt_of,
    field_of,
    length_of,
    number_lines,
    parse_line,
)
from maskmill.pipeline.reading.kinds import require_text
from maskmill.pipeline.reading.parquet import ParquetTable, decode_strings, is_text, list_names
from maskmill.pipeline.reading.parts import PEEK_BYTES, require_json_lines
from maskmill.pipeline.storage.storage import open_file, size_of, version_of
from maskmill.pipeline.tables.delimited import MAX_ROW_BYTES, Delimited, DelimitedReader, cut_at_rows
from maskmill.pipeline.tables.fields import Fields, TableFormat
from maskmill.pipeline.tables.table_file import open_table
from maskmill.tokenizer.errors import InputError

FORMAT_OF_SUFFIX: dict[str, TableFormat] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet",
}  # fmt: skip


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
    with open_table(part) as stream:
        kind = _detect(part.path, stream, named)
        match kind:
            case "parquet":
                yield from _read_parquet(stream, part, fields)
            case "jsonl":
                yield from _read_jsonl(stream, part, fields)
            case "csv" | "tsv":
                yield from _read_delimited(stream, part, fields, kind)


def list_table_parts(path: str, part_bytes: int, named: TableFormat = "auto") -> Iterator[FilePart]:
    """A table in parts of about so many bytes, a function of the file alone; a compressed one is one part."""
    with open_table(FilePart(path)) as stream:
        kind = _detect(path, stream, named)
    with open_file(path) as file:
        is_plain = not compression_of(file.read(8))
    if kind not in ("csv", "tsv") or not is_plain or size_of(path) <= part_bytes:
        yield from list_parts([path], part_bytes)
        return
    yield from cut_at_rows(path, version_of(path), kind, part_bytes)


def _read_delimited(stream: BinaryIO, part: FilePart, fields: Fields, kind: Delimited) -> Iterator[Row | Rejected]:
    reader = DelimitedReader(stream, part, kind)
    for name in fields.names:
        if reader.header.count(name) != 1:
            what = "several columns" if name in reader.header else "no column"
            raise InputError(
                f"has {what} {name}", way_out=f"its first line has {list_names(reader.header)}", path=part.path
            )
    columns = [reader.header.index(name) for name in fields.names]
    for place, row in enumerate(reader.rows(), start=1):
        yield row if isinstance(row, Rejected) else _make_row(place, [row[column] for column in columns], fields)


def _read_jsonl(stream: io.BufferedReader, part: FilePart, fields: Fields) -> Iterator[Row | Rejected]:
    for place, line in number_lines(read_lines(stream, part, BLOCK_BYTES)):
        if length_of(line) > MAX_ROW_BYTES:
            yield Rejected(place, f"more than {MAX_ROW_BYTES:,} bytes", excerpt_of(line))
            continue
        try:
            record, _ = parse_line(line)
            values = [field_of(record, name) for name in fields.names]
        except BlankLineError:
            continue
        except BadLineError as error:
            if isinstance(error, MalformedLineError) and _holds_objects(line):
                raise InputError(
                    f"{part.path}: line {count_lines_before(part) + place:,} holds several JSON objects",
                    expected="one in each line, as jq -c . makes them",
                ) from None
            yield Rejected(place, str(error), excerpt_of(line))
        except KeyError as error:
            yield Rejected(place, f"no field {error.args[0]!r}", excerpt_of(line))
        else:
            yield _make_row(place, values, fields)


def _holds_objects(line: memoryview) -> bool:
    """Whether another object stands in a line behind the first."""
    text = bytes(line).decode(errors="replace").strip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return text[end:].lstrip(" ,\r\t").startswith("{")


def _read_parquet(stream: BinaryIO, part: FilePart, fields: Fields) -> Iterator[Row | Rejected]:
    table = ParquetTable(stream, part)
    for name in fields.names:
        kind = table.type_of(name)
        is_label = name == fields.label_field and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
        if not is_text(kind) and not is_label:
            raise table.wrong_type(name, "text, or whole numbers" if name == fields.label_field else "text")
    place = 0
    for columns in table.batches(fields.names):
        size = sum(column.nbytes for column in columns)
        if size > MAX_ROW_BYTES and (longest := max(map(_longest_text, columns))) > MAX_ROW_BYTES:
            raise InputError(
                f"has a text of {longest:,} bytes behind row {place:,}",
                expected=f"at most {MAX_ROW_BYTES:,}, so leave it out",
                path=part.path,
            )
        values = [decode_strings(column) if is_text(column.type) else column.to_pylist() for column in columns]
        for row in zip(*values):
            place += 1
            yield _make_row(place, list(row), fields)


def _longest_text(column: pa.Array) -> int:
    """The bytes of the longest text of a column, before a dictionary's are copied to each row; 0 where it has none."""
    if not is_text(column.type):
        return 0
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    return pc.max(pc.binary_length(values.cast(pa.large_string()))).as_py() or 0


def _make_row(place: int, values: list[Any], fields: Fields) -> Row | Rejected:
    """The values of `fields.names` -> the row that they are, or why they are none."""
    for name, value in zip(fields.names, values):
        if reason := _why_unusable(name, value, name == fields.label_field):
            return Rejected(place, reason, clip(" ".join(map(clip_value, values))))
    text, *others = values[: len(fields.texts)]
    label = values[-1] if fields.label_field else None
    if isinstance(label, bool):
        label = str(label).lower()  # as JSON writes it
    return Row(place, text, others[0] if others else None, None if label is None else str(label).strip())


def _why_unusable(name: str, value: Any, is_label: bool) -> str | None:
    if isinstance(value, str):
        if not value or value.isspace():
            return f"field {name!r} is empty"
        try:
            value.encode()
        except UnicodeEncodeError:
            return "invalid UTF-8"
        return None
    if value is None:
        return f"field {name!r} is null"
    return None if is_label and isinstance(value, int) else f"field {name!r} is no {'label' if is_label else 'text'}"


def _detect(path: str, stream: io.BufferedReader, named: TableFormat) -> TableFormat:
    """What the file is: as named, else Parquet by its beginning, the others by its name."""
    if named not in get_args(TableFormat):
        raise InputError(f"input_format is {named}", expected=f"{', '.join(get_args(TableFormat))}")
    head = stream.peek(PEEK_BYTES)[:PEEK_BYTES]
    is_parquet = head.startswith(PARQUET_START)
    if named == "parquet" and not is_parquet:
        raise InputError("is not a Parquet file", way_out="use --input-format auto, or give a Parquet file", path=path)
    if is_parquet and named in ("auto", "parquet"):
        return "parquet"
    require_text(path, head)
    kind = kind_of_name(path) if named == "auto" else named
    if kind is None or kind == "parquet":
        raise InputError(
            "does not tell its format by its name",
            way_out="say it with --input-format csv, tsv, jsonl or parquet",
            path=path,
        )
    if kind == "jsonl":
        require_json_lines(path, head)
    return kind


def kind_of_name(path: str) -> TableFormat | None:
    """The format that the name of a file tells, whatever it is compressed with; None where it tells none.

    >>> kind_of_name("reviews.CSV.gz"), kind_of_name("reviews.txt")
    ('csv', None)
    """
    suffixes = [suffix for suffix in Path(path).suffixes if suffix not in SUFFIXES]
    return FORMAT_OF_SUFFIX.get(suffixes[-1].lower()) if suffixes else None
