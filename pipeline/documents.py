"""Files to documents: which files an input names, and the readers of their formats."""

import glob
import gzip
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from isal import igzip, igzip_lib

from tokenizer.errors import InputError

InputFormat = Literal["auto", "text", "jsonl"]


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

    source: str  # file:line
    text: str
    lines_are_sentences: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """A document that was set aside, and why."""

    source: str
    reason: str


def count_bytes(text: str) -> int:
    r"""The bytes of a text in UTF-8, ASCII blanks left out, which formats add and drop: a measure of its tokens.

    >>> count_bytes("one\n\ntwo")
    6
    """
    return len(text.encode().translate(None, b" \t\n\r"))


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


def read_documents(path: str, options: ReadOptions) -> Iterator[RawDocument | Rejected]:
    """The documents of one file, plain or gzip, in their order.

    Raises InputError when the file cannot be read or is no text, or its compressed stream is cut off or damaged.
    """
    try:
        with open(path, "rb") as file:
            yield from read_stream(path, file, options)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error


def read_stream(
    path: str, file: BinaryIO, options: ReadOptions, buffer_bytes: int = 1 << 20
) -> Iterator[RawDocument | Rejected]:
    """The documents of an open file, as `read_documents`; `path` tells its format and is named in errors."""
    try:
        with _decompress(file, buffer_bytes) as stream:
            if b"\0" in stream.peek(1024)[:1024]:
                raise InputError(f"{path} is no text (it has NUL bytes); expected UTF-8, leave it out or convert it")
            if _detect_format(path, stream, options.input_format) == "jsonl":
                yield from _read_jsonl(path, stream, options)
            else:
                yield from _read_text(path, stream, options)
    except (EOFError, gzip.BadGzipFile, igzip_lib.IsalError) as error:  # type: ignore[misc]
        raise InputError(f"{path} is a damaged gzip file ({error}); copy or download it again") from error


def _decompress(file: BinaryIO, buffer_bytes: int) -> io.BufferedReader:
    is_gzip = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return io.BufferedReader(igzip.open(file) if is_gzip else file, buffer_bytes)  # type: ignore[arg-type]


def _detect_format(path: str, stream: io.BufferedReader, named: InputFormat) -> InputFormat:
    if named != "auto":
        return named
    suffix = Path(path.removesuffix(".gz")).suffix
    if suffix in (".jsonl", ".ndjson", ".json"):
        return "jsonl"
    if suffix != ".txt" and stream.peek(64).lstrip().startswith(b"{"):
        return "jsonl"
    return "text"


def _read_text(path: str, stream: io.BufferedReader, options: ReadOptions) -> Iterator[RawDocument | Rejected]:
    """BERT's format: one sentence per line; a line that is blank after `str.strip()` ends a document.

    The end of a file ends its last document (google-research/bert joins it with the next file's first).
    """
    lines_are_sentences = options.split_sentences in ("auto", "none")
    lines: list[str] = []
    first = 1
    # Invalid bytes become lone surrogates, which _checked finds.
    with io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline="\n") as text:
        for number, line in enumerate(text, 1):
            if line.strip():
                if not lines:
                    first = number
                lines.append(line)
            elif lines:
                yield _checked(RawDocument(f"{path}:{first}", "".join(lines), lines_are_sentences))
                lines = []
    if lines:
        yield _checked(RawDocument(f"{path}:{first}", "".join(lines), lines_are_sentences))


def _read_jsonl(path: str, stream: io.BufferedReader, options: ReadOptions) -> Iterator[RawDocument | Rejected]:
    """One JSON object per line, the document in its text field."""
    lines_are_sentences = options.split_sentences == "none"
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        source = f"{path}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            yield Rejected(source, "malformed JSON")
            continue
        if not isinstance(record, dict) or options.text_field not in record:
            yield Rejected(source, f"no field {options.text_field!r}")
        elif not isinstance(record[options.text_field], str):
            yield Rejected(source, f"field {options.text_field!r} is no text")
        elif not record[options.text_field].strip():
            yield Rejected(source, "empty text")
        else:
            yield _checked(RawDocument(source, record[options.text_field], lines_are_sentences))


def _checked(document: RawDocument) -> RawDocument | Rejected:
    """Sets aside what cannot be written as UTF-8: bytes that were not UTF-8, and lone surrogates in JSON."""
    try:
        document.text.encode()
    except UnicodeEncodeError:
        return Rejected(document.source, "invalid UTF-8")
    return document
