"""The formats of documents: lines, or a table, to documents."""

import html
import io
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maskmill.pipeline.reading.compression import tells_of_data
from maskmill.pipeline.reading.documents import (
    BYTE_ORDER_MARK,
    EXCERPT_CHARACTERS,
    Document,
    ReadOptions,
    Rejected,
    clip,
    clip_value,
    is_longer,
    make_documents,
    reject_long,
)
from maskmill.pipeline.reading.files import BLOCK_BYTES, FilePart, LineBlocks
from maskmill.tokenizer.errors import DamagedError, InputError

BLANK_LINES = re.compile(r"\n\s*\n")  # \s is what str.strip() removes; a fixed first character is ten times faster
BLANK_START = re.compile(r"\s*\n")
WIKI_ID = re.compile(r' id="([^"]*)"')
WIKI_END = "</doc>"
ENTITY = re.compile(r"&#?\w{1,31};")
EXTRACTORS_KEYS = {"id", "revid", "url", "title", "text"}  # of WikiExtractor's JSON lines
ROWS_PER_BATCH, BATCH_BYTES = 256, 1 << 24
MAX_TABLE_BYTES = 2_000_000_000  # of a Parquet file that is compressed as a whole, which is read into memory


def read_text(blocks: LineBlocks, is_first: bool, options: ReadOptions) -> Iterator[Document]:
    """BERT's format: one sentence per line; a line that is blank after `str.strip()` ends a document.

    The end of a file ends its last document (google-research/bert joins it with the next file's first). A document
    belongs to the part of a file that holds the last blank line before it, or the file's beginning.
    """
    lines_are_sentences = options.split_sentences in ("auto", "none")
    begun: list[str] = []  # the document whose end is not read yet; its beginning, where it is too long
    held, longest = 0, options.longest
    is_mine, is_clean = is_first, True
    line = next_line = 1  # the first ones of that document and of the block

    def finish() -> Iterator[Document]:
        text = "".join(begun).rstrip()
        if is_mine and is_longer(text, longest):
            yield reject_long(line, clip(text), options)
        elif is_mine and text:
            yield from make_documents(text, line, lines_are_sentences, is_clean=is_clean)

    for data, begins_in_part in blocks:
        if not (begins_in_part or is_mine):
            return  # nor is anything that follows
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text, is_clean = data.decode(errors="surrogateescape"), False
        start, line_at_start = 0, next_line
        blank_start = BLANK_START.match(text)
        for blank in chain([blank_start] if blank_start else [], BLANK_LINES.finditer(text)):
            if held <= longest:
                begun.append(text[start : blank.start()])
            yield from finish()
            if not begins_in_part:
                return
            line_at_start += text.count("\n", start, blank.end())
            begun, held, is_mine, start, line = [], 0, True, blank.end(), line_at_start
        if held <= longest:
            begun.append(text[start:])
            held += len(begun[-1])
        next_line = line_at_start + text.count("\n", start)
    yield from finish()


def read_single_lines(blocks: LineBlocks, options: ReadOptions) -> Iterator[Document]:
    """Every line that is not blank is a document."""
    number, longest = 0, options.longest
    for data, begins_in_part in blocks:
        if not begins_in_part:
            return
        for line in data.removesuffix(b"\n").split(b"\n"):
            number += 1
            if len(line) > longest:
                yield reject_long(number, _clip(memoryview(line)), options)
            elif text := line.decode(errors="surrogateescape").strip():
                yield from make_documents(text, number, options.split_sentences == "none")


def read_jsonl(blocks: LineBlocks, options: ReadOptions) -> Iterator[Document]:
    """One JSON object per line, the document in its text field."""
    number, longest = 0, options.longest
    for data, begins_in_part in blocks:
        if not begins_in_part:
            return
        start = 0
        while start < len(data):
            end = data.find(b"\n", start) + 1 or len(data)
            number += 1
            line = memoryview(data)[start:end]
            if len(line) > longest + 1:  # with its end
                yield reject_long(number, _clip(line), options)
            else:
                yield from _read_json(line, number, options)
            start = end


def _read_json(line: memoryview, number: int, options: ReadOptions) -> Iterator[Document]:
    is_clean = True
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        if bytes(line).isspace():
            return
        is_clean = False
        try:
            record = json.loads(bytes(line))  # slower, and takes what orjson does not, such as NaN and lone surrogates
        except UnicodeDecodeError:
            yield Rejected(number, "invalid UTF-8", _clip(line))
            return
        except (ValueError, RecursionError):
            yield Rejected(number, "malformed JSON", _clip(line))
            return
    try:
        text = field_of(record, options.text_field)
    except KeyError:
        yield Rejected(number, f"no field {options.text_field!r}", _clip(line))
        return
    if isinstance(text, str) and "&" in text and record.keys() == EXTRACTORS_KEYS:
        text = decode_entities(text)
    yield from _make_from_field(text, number, options, _id_of(record, line, options), is_clean)


def _clip(line: memoryview) -> str:
    return clip(bytes(line[: 4 * EXCERPT_CHARACTERS]).decode(errors="replace").removesuffix("\n"))


def field_of(record: Any, name: str) -> Any:
    """The field of a JSON object; `a.b` is the field b of the object a, unless there is one called "a.b"."""
    if isinstance(record, dict) and name in record:
        return record[name]
    for part in name.split("."):
        if not isinstance(record, dict):
            raise KeyError(name)
        record = record[part]
    return record


def _id_of(record: Any, line: memoryview, options: ReadOptions) -> str | None:
    if options.id_field is None:
        return None
    try:
        id = field_of(record, options.id_field)
        if isinstance(id, float):  # or an integer of more than 64 bits, of which orjson makes a float
            id = field_of(json.loads(bytes(line)), options.id_field)
        return None if id is None else str(id)
    except (KeyError, ValueError, RecursionError):
        return None


def _make_from_field(
    text: Any, place: int, options: ReadOptions, id: str | None, is_clean: bool = False
) -> Iterator[Document]:
    if text is None:
        yield Rejected(place, f"field {options.text_field!r} is null")
    elif not isinstance(text, str):
        yield Rejected(place, f"field {options.text_field!r} is no text", clip_value(text))
    else:
        yield from make_documents(text, place, options.split_sentences == "none", id, is_clean)


def read_wiki(blocks: LineBlocks, is_first: bool, options: ReadOptions, has_urls: bool = False) -> Iterator[Document]:
    """WikiExtractor's output: `<doc id="12" url="..." title="...">`, the title, a blank line, the text, `</doc>`.

    The line of the title is left out, and HTML entities become characters, as WikiExtractor writes `&amp;`, `&lt;` and
    `&gt;`. Its attributes: id, revid, url, title, language, revision. A title may have quotes; a line of text may
    look like a header, but in files whose headers have a url (`has_urls`) it does not have one.
    """
    begun: list[str] | None = [] if is_first else None  # the lines of a document, or of what is none
    header: str | None = None
    place, number = 1, 0
    held, longest = 0, options.longest
    needed = ' url="' if has_urls else ""

    def finish(is_whole: bool) -> Iterator[Document]:
        text = "\n".join(begun or [])
        if is_longer(text, longest):
            yield reject_long(place, clip(text), options)
        elif header is None:
            if text.strip():
                yield Rejected(place, "text outside of <doc>", clip(text))
        elif not is_whole:
            yield Rejected(place, "<doc> without </doc>", clip(text))
        else:
            id = WIKI_ID.search(header) if options.id_field else None
            text = decode_entities(_without_title(text, header))
            yield from make_documents(text, place, options.split_sentences == "none", id[1] if id else None)

    for data, begins_in_part in blocks:
        if not begins_in_part and begun is None:
            return
        for line in data.decode(errors="surrogateescape").removesuffix("\n").split("\n"):
            number += 1
            line = line.removeprefix(BYTE_ORDER_MARK) if is_first and number == 1 else line
            if line.startswith("<doc ") and needed in line and line.rstrip().endswith(">"):
                yield from finish(is_whole=False)
                if not begins_in_part:
                    return
                begun, held, header, place = [], 0, line, number
            elif line.strip() == WIKI_END:
                yield from finish(is_whole=True)
                if not begins_in_part:
                    return
                begun, held, header, place = [], 0, None, number + 1
            elif begun is not None and held <= longest:
                begun.append(line)
                held += len(line) + 1
    yield from finish(is_whole=False)


def has_wiki_urls(head: bytes) -> bool:
    """Whether the first header of a file that begins like this has a url, as all of WikiExtractor's have."""
    return b' url="' in head[: head.find(b"\n") + 1]


def _without_title(text: str, header: str) -> str:
    """The text of a `<doc>` without its first line, if that is the title in the header."""
    line, _, rest = text.lstrip().partition("\n")
    is_title = f' title="{html.unescape(line.strip())}"' in html.unescape(header)
    return rest if line and is_title else text


def decode_entities(text: str) -> str:
    """A text whose HTML entities have become the characters that they stand for, each once.

    >>> decode_entities("R&D &amp; AT&T &lt; &amp;lt;")
    'R&D & AT&T < &lt;'
    """
    return ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def read_parquet(file: io.BufferedReader, part: FilePart, options: ReadOptions) -> Iterator[Document]:
    """A table's text column, a few rows of a row group at a time. The parts of such a file are row groups.

    Raises InputError when there is no such column, or it holds no strings, and DamagedError.
    """
    try:
        yield from _read_rows(pq.ParquetFile(file if file.seekable() else _read_whole(file, part.path)), part, options)
    except MemoryError:  # of Arrow, too
        raise
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DamagedError(str(error)) from error
    except OSError as error:
        if tells_of_data(error):
            raise DamagedError(str(error)) from error
        raise


def _read_whole(file: io.BufferedReader, path: str) -> io.BytesIO:
    data = io.BytesIO()
    while block := file.read(BLOCK_BYTES):
        if data.tell() + len(block) > MAX_TABLE_BYTES:
            raise InputError(
                f"is Parquet within another compression and has more than {MAX_TABLE_BYTES:,} bytes without it",
                way_out="unpack it first",
                path=path,
            )
        data.write(block)
    return data


def _read_rows(table: pq.ParquetFile, part: FilePart, options: ReadOptions) -> Iterator[Document]:
    columns = [name for name in (options.text_field, options.id_field) if name]
    _check_columns(table.schema_arrow, columns, part.path)
    end = table.num_row_groups if part.end is None else min(part.end, table.num_row_groups)
    number = sum(table.metadata.row_group(group).num_rows for group in range(part.start))
    groups = list(range(part.start, end))
    for batch in table.iter_batches(_rows_per_batch(table.metadata, groups), row_groups=groups, columns=columns):
        texts, *ids = (decode_strings(column_of(batch, name)) for name in columns)
        for row, text in enumerate(texts):
            number += 1
            if text and is_longer(text, options.longest):
                yield reject_long(number, clip(text), options)
                continue
            yield from _make_from_field(text, number, options, ids[0][row] if ids else None)


def _rows_per_batch(metadata: pq.FileMetaData, groups: Sequence[int]) -> int:
    """As many rows as are of a moderate size together, by the average of the row groups."""
    chosen = [metadata.row_group(group) for group in groups]
    rows = sum(int(group.num_rows) for group in chosen)
    size = sum(int(group.total_byte_size) for group in chosen)
    return min(ROWS_PER_BATCH, max(1, BATCH_BYTES * rows // max(1, size)))


def _check_columns(schema: pa.Schema, columns: Sequence[str], path: str) -> None:
    """Raises InputError where a column is not there, or the first, that of the text, holds something else."""
    there = ", ".join(f"{field.name}{'' if is_text(field.type) else f' ({field.type})'}" for field in schema)
    for name in columns:
        if schema.names.count(name) > 1:
            raise InputError(f"has several columns {name}", way_out=f"it has {there}", path=path)
        kind = type_of(schema, name)
        if kind is None:
            raise InputError(f"has no column {name}", way_out=f"it has {there}", path=path)
        if pa.types.is_nested(kind):
            raise InputError(f"{path}: column {name} is {kind}", expected=f"single values, it has {there}")
        if name == columns[0] and not is_text(kind):
            raise InputError(f"{path}: column {name} is {kind}", expected=f"text, it has {there}")


def type_of(schema: pa.Schema, name: str) -> pa.DataType | None:
    """The type of a column, or of a field of one: see `field_of`."""
    if name in schema.names:
        return schema.field(name).type
    first, *rest = name.split(".")
    if first not in schema.names:
        return None
    kind = schema.field(first).type
    for part in rest:
        if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
            return None
        kind = kind.field(part).type
    return kind


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds strings."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def column_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column, or a field of one: see `field_of`."""
    if name in batch.schema.names:
        return batch.column(name)
    first, *rest = name.split(".")
    column = batch.column(first)
    for part in rest:
        column = pc.struct_field(column, part)
    return column


def decode_strings(column: pa.Array) -> list[str | None]:
    """A column as strings; what is not UTF-8, which not every writer checks, as lone surrogates."""
    values: list[bytes | None] = column.cast(pa.large_string()).view(pa.large_binary()).to_pylist()
    return [None if value is None else value.decode(errors="surrogateescape") for value in values]
