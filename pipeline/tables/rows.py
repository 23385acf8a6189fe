"""Tables of texts with labels, in CSV, TSV, JSON lines or Parquet, to rows in their order, in constant memory.

A row that cannot be used keeps its place, with the reason: whoever reads decides what becomes of it.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, get_args

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maskmill.pipeline.reading.compression import SUFFIXES, compression_of
from maskmill.pipeline.reading.documents import EXCERPT_CHARACTERS, Rejected, clip, clip_value
from maskmill.pipeline.reading.files import (
    BLOCK_BYTES,
    PARQUET_START,
    FilePart,
    count_lines_before,
    list_parts,
    read_lines,
)
from maskmill.pipeline.reading.formats import column_of, decode_strings, field_of, is_text, type_of
from maskmill.pipeline.reading.kinds import require_text
from maskmill.pipeline.reading.parts import PEEK_BYTES, require_json_lines
from maskmill.pipeline.storage.storage import open_file, size_of, version_of
from maskmill.pipeline.tables.delimited import MAX_ROW_BYTES, DelimitedReader, Kind, cut_at_rows
from maskmill.pipeline.tables.fields import Fields, TableFormat
from maskmill.pipeline.tables.opening import open_table
from maskmill.tokenizer.errors import InputError

FORMAT_OF_SUFFIX: dict[str, TableFormat] = {
    ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet",
}  # fmt: skip
ROWS_PER_BATCH = 256
MAX_COMPRESSED_PARQUET = 1_000_000_000  # bytes, decompressed
MALFORMED_JSON = "malformed JSON"
MOST_NAMES = 20  # of columns, in an error


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


def _read_delimited(stream: BinaryIO, part: FilePart, fields: Fields, kind: Kind) -> Iterator[Row | Rejected]:
    reader = DelimitedReader(stream, part, kind)
    for name in fields.names:
        if reader.header.count(name) != 1:
            what = "several columns" if name in reader.header else "no column"
            raise InputError(
                f"has {what} {name}", way_out=f"its first line has {_list_names(reader.header)}", path=part.path
            )
    columns = [reader.header.index(name) for name in fields.names]
    for place, row in enumerate(reader.rows(), start=1):
        yield row if isinstance(row, Rejected) else _make_row(place, [row[column] for column in columns], fields)


def _list_names(names: Sequence[str]) -> str:
    """The names of columns, in words.

    >>> _list_names(["text", "label"]), _list_names([])
    ('text, label', 'nothing')
    """
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return (", ".join(map(clip, names[:MOST_NAMES])) or "nothing") + more


def _read_jsonl(stream: io.BufferedReader, part: FilePart, fields: Fields) -> Iterator[Row | Rejected]:
    place = 0
    for data, begins_in_part in read_lines(stream, part, BLOCK_BYTES):
        if not begins_in_part:
            return
        for line in data.removesuffix(b"\n").split(b"\n"):
            place += 1
            if not line.strip():
                continue
            if len(line) > MAX_ROW_BYTES:
                yield Rejected(place, f"more than {MAX_ROW_BYTES:,} bytes", _excerpt_of(line))
                continue
            row = _read_json(bytes(line), place, fields)
            if isinstance(row, Rejected) and row.reason == MALFORMED_JSON and _holds_objects(line):
                raise InputError(
                    f"{part.path}: line {count_lines_before(part) + place:,} holds several JSON objects",
                    expected="one in each line, as jq -c . makes them",
                )
            yield row


def _holds_objects(line: bytearray) -> bool:
    """Whether another object stands in a line behind the first."""
    text = line.decode(errors="replace").strip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return text[end:].lstrip(" ,\r\t").startswith("{")


def _read_json(line: bytes, place: int, fields: Fields) -> Row | Rejected:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            record = json.loads(line)  # takes what orjson does not, such as NaN in a field that nobody asks for
        except UnicodeDecodeError:
            return Rejected(place, "invalid UTF-8", _excerpt_of(line))
        except (ValueError, RecursionError):
            return Rejected(place, MALFORMED_JSON, _excerpt_of(line))
    values = []
    for name in fields.names:
        try:
            values.append(field_of(record, name))
        except KeyError:
            return Rejected(place, f"no field {name!r}", _excerpt_of(line))
    return _make_row(place, values, fields)


def _excerpt_of(line: bytes | bytearray) -> str:
    return clip(line[: 4 * EXCERPT_CHARACTERS].decode(errors="replace"))


def _read_parquet(stream: BinaryIO, part: FilePart, fields: Fields) -> Iterator[Row | Rejected]:
    table = pq.ParquetFile(stream if stream.seekable() else _read_whole(stream, part.path))
    there = _list_names([f"{field.name} ({field.type})" for field in table.schema_arrow])
    for name in fields.names:
        kind = type_of(table.schema_arrow, name)
        if kind is None or table.schema_arrow.names.count(name) > 1:
            raise InputError(
                f"has {('no' if kind is None else 'several')} column {name}", way_out=f"it has {there}", path=part.path
            )
        is_label = name == fields.label_field and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
        if not is_text(kind) and not is_label:
            expected = "text, or whole numbers" if name == fields.label_field else "text"
            raise InputError(f"{part.path}: column {name} is {kind}", expected=f"{expected}, it has {there}")
    end = table.num_row_groups if part.end is None else min(part.end, table.num_row_groups)
    place = 0
    batch_size = max(1, min(ROWS_PER_BATCH, MAX_ROW_BYTES // max(1, _mean_row_bytes(table))))
    for batch in table.iter_batches(batch_size, row_groups=list(range(part.start, end)), columns=fields.names):
        columns = [column_of(batch, name) for name in fields.names]
        if batch.nbytes > MAX_ROW_BYTES and (longest := max(map(_longest_text, columns))) > MAX_ROW_BYTES:
            raise InputError(
                f"has a text of {longest:,} bytes behind row {place:,}",
                expected=f"at most {MAX_ROW_BYTES:,}, so leave it out",
                path=part.path,
            )
        values = [decode_strings(column) if is_text(column.type) else column.to_pylist() for column in columns]
        for row in zip(*values):
            place += 1
            yield _make_row(place, list(row), fields)


def _read_whole(stream: BinaryIO, path: str) -> io.BytesIO:
    """A compressed Parquet file in memory, since its reader needs to seek."""
    data = stream.read(MAX_COMPRESSED_PARQUET + 1)
    if len(data) > MAX_COMPRESSED_PARQUET:
        raise InputError(
            f"is a compressed Parquet file of more than {MAX_COMPRESSED_PARQUET:,} bytes, which is held in memory",
            way_out="decompress it",
            path=path,
        )
    return io.BytesIO(data)


def _longest_text(column: pa.Array) -> int:
    """The bytes of the longest text of a column, before a dictionary's are copied to each row; 0 where it has none."""
    if not is_text(column.type):
        return 0
    values = column.dictionary if pa.types.is_dictionary(column.type) else column
    return pc.max(pc.binary_length(values.cast(pa.large_string()))).as_py() or 0


def _mean_row_bytes(table: pq.ParquetFile) -> int:
    groups = [table.metadata.row_group(group) for group in range(table.num_row_groups)]
    return max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)


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
