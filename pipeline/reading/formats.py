"""The formats of documents: lines, or a table, to documents."""

import html
import io
import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import pyarrow as pa

from maskmill.pipeline.reading.documents import (
    BYTE_ORDER_MARK,
    Document,
    ReadOptions,
    Rejected,
    clip,
    clip_value,
    is_longer,
    make_documents,
    reject_long,
)
from maskmill.pipeline.reading.files import FilePart, LineBlocks
from maskmill.pipeline.reading.json_lines import (
    BadLineError,
    BlankLineError,
    excerpt_of,
    field_of,
    length_of,
    number_lines,
    parse_line,
)
from maskmill.pipeline.reading.parquet import ParquetTable, damage_of_data, decode_strings, is_text

BLANK_LINES = re.compile(r"\n\s*\n")  # \s is what str.strip() removes; a fixed first character is ten times faster
BLANK_START = re.compile(r"\s*\n")
WIKI_ID = re.compile(r' id="([^"]*)"')
WIKI_END = "</doc>"
ENTITY = re.compile(r"&#?\w{1,31};")
EXTRACTORS_KEYS = {"id", "revid", "url", "title", "text"}  # of WikiExtractor's JSON lines


def read_text(blocks: LineBlocks, is_first: bool, options: ReadOptions) -> Iterator[Document | Rejected]:
    """BERT's format: one sentence per line; a line that is blank after `str.strip()` ends a document.

    The end of a file ends its last document (google-research/bert joins it with the next file's first). A document
    belongs to the part of a file that holds the last blank line before it, or the file's beginning.
    """
    lines_are_sentences = options.split_sentences in ("auto", "none")
    begun: list[str] = []  # the document whose end is not read yet; its beginning, where it is too long
    held, longest = 0, options.longest
    is_mine, is_clean = is_first, True
    line = next_line = 1  # the first ones of that document and of the block

    def finish() -> Iterator[Document | Rejected]:
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


def read_single_lines(blocks: LineBlocks, options: ReadOptions) -> Iterator[Document | Rejected]:
    """Every line that is not blank is a document."""
    for number, line in number_lines(blocks):
        if length_of(line) > options.longest:
            yield reject_long(number, excerpt_of(line), options)
        elif text := bytes(line).decode(errors="surrogateescape").strip():
            yield from make_documents(text, number, options.split_sentences == "none")


def read_jsonl(blocks: LineBlocks, options: ReadOptions) -> Iterator[Document | Rejected]:
    """One JSON object per line, the document in its text field."""
    longest = options.longest
    for number, line in number_lines(blocks):
        if length_of(line) > longest:
            yield reject_long(number, excerpt_of(line), options)
        else:
            yield from _read_json(line, number, options)


def _read_json(line: memoryview, number: int, options: ReadOptions) -> Iterator[Document | Rejected]:
    try:
        record, is_clean = parse_line(line)
        text = field_of(record, options.text_field)
    except BlankLineError:
        return
    except BadLineError as error:
        yield Rejected(number, str(error), excerpt_of(line))
        return
    except KeyError:
        yield Rejected(number, f"no field {options.text_field!r}", excerpt_of(line))
        return
    if isinstance(text, str) and "&" in text and record.keys() == EXTRACTORS_KEYS:
        text = decode_entities(text)
    yield from _make_from_field(text, number, options, _id_of(record, line, options), is_clean)


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
) -> Iterator[Document | Rejected]:
    if text is None:
        yield Rejected(place, f"field {options.text_field!r} is null")
    elif not isinstance(text, str):
        yield Rejected(place, f"field {options.text_field!r} is no text", clip_value(text))
    else:
        yield from make_documents(text, place, options.split_sentences == "none", id, is_clean)


def read_wiki(
    blocks: LineBlocks, is_first: bool, options: ReadOptions, has_urls: bool = False
) -> Iterator[Document | Rejected]:
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

    def finish(is_whole: bool) -> Iterator[Document | Rejected]:
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


def read_parquet(file: io.BufferedReader, part: FilePart, options: ReadOptions) -> Iterator[Document | Rejected]:
    """A table's text column. The parts of such a file are row groups.

    Raises InputError when there is no such column, or it holds no strings, and DamagedError.
    """
    with damage_of_data():
        table = ParquetTable(file, part)
        names = [name for name in (options.text_field, options.id_field) if name]
        for name in names:
            kind = table.type_of(name)
            if pa.types.is_nested(kind):
                raise table.wrong_type(name, "single values")
            if name == names[0] and not is_text(kind):
                raise table.wrong_type(name, "text")
        number = table.rows_before
        for batch in table.batches(names):
            texts, *ids = map(decode_strings, batch)
            for row, text in enumerate(texts):
                number += 1
                if text and is_longer(text, options.longest):
                    yield reject_long(number, clip(text), options)
                else:
                    yield from _make_from_field(text, number, options, ids[0][row] if ids else None)
