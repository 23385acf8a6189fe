"""Documents: the readers of their formats, from files to text."""

import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import orjson
from isal import igzip_lib

from pipeline.files import BLOCK_BYTES, FilePart, count_lines_before, decompress, read_lines
from tokenizer.errors import InputError

InputFormat = Literal["auto", "text", "jsonl"]
BLANK_LINES = re.compile(r"\n\s*\n")  # \s is what str.strip() removes
BLANK_END = re.compile(r"\n\s*\Z")


@dataclass(frozen=True)
class ReadOptions:
    """How files are read. The documents matter to the output, how they were stored does not.

    Raises InputError where a language is not of the form of an ISO 639 code.
    """

    input_format: InputFormat = "auto"
    text_field: str = "text"  # of a JSON line
    split_sentences: str = "auto"  # "none", "auto" or a language code such as "en"
    language: str = "en"  # what "auto" takes for raw text

    def __post_init__(self) -> None:
        for name, value in (("split_sentences", self.split_sentences), ("language", self.language)):
            if value not in ("auto", "none") and not re.fullmatch("[a-z]{2,3}", value):
                raise InputError(f"{name} is {value}; expected a language code such as en, de or zh")


@dataclass(frozen=True, slots=True)
class RawDocument:
    """A document as it was read. In BERT's text format each of its lines is a sentence already."""

    text: str
    lines_are_sentences: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that was set aside, and why."""

    line: int  # of the file, its first being 1
    reason: str


def read_documents(part: FilePart, options: ReadOptions) -> Iterator[RawDocument | Rejected]:
    """The documents of a file, or of a part of one, plain or gzip, in their order.

    Raises InputError when the file cannot be read or is no text, or its compressed stream is cut off or damaged.
    """
    path = part.path
    try:
        with open(path, "rb") as file:
            yield from read_stream(part, file, options)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error


def read_stream(
    part: FilePart, file: BinaryIO, options: ReadOptions, block_bytes: int = BLOCK_BYTES
) -> Iterator[RawDocument | Rejected]:
    """The documents of an open file, as `read_documents`; its path tells its format and is named in errors."""
    path = part.path
    lines_before: int | None = None if part.start else 0
    try:
        with decompress(file, block_bytes) as stream:
            if b"\0" in stream.peek(1024)[:1024]:
                raise InputError(f"{path} is no text (it has NUL bytes); expected UTF-8, leave it out or convert it")
            is_jsonl = _detect_format(path, stream, options.input_format) == "jsonl"
            blocks = read_lines(stream, part, block_bytes)
            for document in _read_jsonl(blocks, options) if is_jsonl else _read_text(blocks, not part.start, options):
                if isinstance(document, Rejected):
                    if lines_before is None:
                        lines_before = count_lines_before(part)
                    document = Rejected(lines_before + document.line, document.reason)
                yield document
    except (EOFError, gzip.BadGzipFile, igzip_lib.IsalError) as error:  # type: ignore[misc]
        raise InputError(f"{path} is a damaged gzip file ({error}); copy or download it again") from error


def _detect_format(path: str, stream: io.BufferedReader, named: InputFormat) -> InputFormat:
    if named != "auto":
        return named
    suffix = Path(path.removesuffix(".gz")).suffix
    if suffix in (".jsonl", ".ndjson", ".json"):
        return "jsonl"
    if suffix != ".txt" and stream.peek(64).lstrip().startswith(b"{"):
        return "jsonl"
    return "text"


def _read_text(
    blocks: Iterator[tuple[bytes, bool]], is_first: bool, options: ReadOptions
) -> Iterator[RawDocument | Rejected]:
    """BERT's format: one sentence per line; a line that is blank after `str.strip()` ends a document.

    The end of a file ends its last document (google-research/bert joins it with the next file's first). A document
    belongs to the part of a file that holds the last blank line before it, or the file's beginning.
    """
    lines_are_sentences = options.split_sentences in ("auto", "none")
    begun: list[str] = []  # the document whose end is not read yet
    is_mine, is_clean = is_first, True
    line = next_line = 1  # the first ones of that document and of the block

    def finish() -> Iterator[RawDocument | Rejected]:
        text = BLANK_END.sub("", "".join(begun))
        if is_mine and text.strip():
            if is_clean or _is_clean(text):
                yield RawDocument(text, lines_are_sentences)
            else:
                yield Rejected(line, "invalid UTF-8")

    for data, begins_in_part in blocks:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text, is_clean = data.decode(errors="surrogateescape"), False
        start, line_at_start = 0, next_line
        for blank in BLANK_LINES.finditer("\n" + text):  # before the text stands the end of the line before it
            begun.append(text[start : max(0, blank.start() - 1)])
            yield from finish()
            if not begins_in_part:
                return
            end = blank.end() - 1
            line_at_start += text.count("\n", start, end)
            begun, is_mine, start, line = [], True, end, line_at_start
        begun.append(text[start:])
        next_line = line_at_start + text.count("\n", start)
    yield from finish()


def _read_jsonl(blocks: Iterator[tuple[bytes, bool]], options: ReadOptions) -> Iterator[RawDocument | Rejected]:
    """One JSON object per line, the document in its text field."""
    number = 0
    for data, begins_in_part in blocks:
        if not begins_in_part:
            return
        for line in data.removesuffix(b"\n").split(b"\n"):
            number += 1
            if line.strip():
                yield _read_json(line, number, options)


def _read_json(line: bytes, number: int, options: ReadOptions) -> RawDocument | Rejected:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            record = json.loads(line)  # slower, and takes what orjson does not, such as NaN and lone surrogates
        except (ValueError, RecursionError):
            return Rejected(number, "malformed JSON")
    if not isinstance(record, dict) or options.text_field not in record:
        return Rejected(number, f"no field {options.text_field!r}")
    text = record[options.text_field]
    if not isinstance(text, str):
        return Rejected(number, f"field {options.text_field!r} is no text")
    if not text.strip():
        return Rejected(number, "empty text")
    if not _is_clean(text):
        return Rejected(number, "invalid UTF-8")
    return RawDocument(text, lines_are_sentences=options.split_sentences == "none")


def _is_clean(text: str) -> bool:
    """Whether it can be written as UTF-8: has no lone surrogates, as in JSON, or in place of bytes that were not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
