"""Reading: a part of a file, of whatever format and compression, to documents."""

import io
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.compression import SUFFIXES, DamagedError, decompress
from pipeline.documents import Document, InputFormat, ReadOptions, Rejected, clip
from pipeline.duplicates import key_of
from pipeline.files import BLOCK_BYTES, PARQUET_START, FilePart, read_lines
from pipeline.formats import read_jsonl, read_parquet, read_single_lines, read_text, read_wiki
from pipeline.storage import open_file, size_of
from tokenizer.errors import InputError, first_line

PEEK_BYTES = 4096
# UTF-16, and zip (also of Word), PDF, PNG, JPEG, GIF and 7z, which have few NUL bytes.
BINARY_STARTS = (b"\xff\xfe", b"\xfe\xff", b"PK\3\4", b"%PDF-", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"7z\xbc\xaf")
MAX_NUL_SHARE = 0.01  # more of a file's beginning: it is no text, or UTF-16


def read_documents(part: FilePart, options: ReadOptions, duplicates: Container[bytes] = ()) -> Iterator[Document]:
    """The documents of a part of a file, in their order; those whose keys are `duplicates` are rejected.

    Raises InputError when the file cannot be read, is no text, damaged, or does not have what the options name.
    """
    with open_file(part.path, part.version) as file:
        yield from read_stream(part, file, options, duplicates)


def read_stream(
    part: FilePart,
    file: BinaryIO,
    options: ReadOptions,
    duplicates: Container[bytes] = (),
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Document]:
    """The documents of an open file, as `read_documents`; its path helps to tell its format and is named in errors."""
    try:
        with decompress(file, block_bytes) as stream:
            match _detect_format(part.path, stream, options):
                case "parquet":
                    documents = read_parquet(stream, part, options)
                case "jsonl":
                    documents = read_jsonl(read_lines(stream, part, block_bytes), options)
                case "lines":
                    documents = read_single_lines(read_lines(stream, part, block_bytes), options)
                case "wiki":
                    documents = read_wiki(read_lines(stream, part, block_bytes), not part.start, options)
                case _:
                    documents = read_text(read_lines(stream, part, block_bytes), not part.start, options)
            for document in documents:
                yield _reject_duplicate(document, duplicates) if duplicates else document
    except DamagedError as error:
        size = size_of(part.path)
        at = size if file.closed else file.tell()
        raise InputError(
            f"{part.path} is cut off or damaged near byte {at:,} of {size:,} ({first_line(error)}); "
            "copy or download it again"
        ) from error


def _reject_duplicate(document: Document, duplicates: Container[bytes]) -> Document:
    if isinstance(document, Rejected) or document.id is None or key_of(document.id, document.text) not in duplicates:
        return document
    return Rejected(document.place, "another document has its id", clip(document.text))


def _detect_format(path: str, stream: io.BufferedReader, options: ReadOptions) -> InputFormat:
    """What the file is, by its beginning and its name. Raises InputError where it can be none of the formats."""
    named = options.input_format
    head = stream.peek(PEEK_BYTES)[:PEEK_BYTES]
    if head.startswith(PARQUET_START) and named in ("auto", "parquet"):
        return "parquet"
    if named == "parquet":
        raise InputError(f"{path} is not a Parquet file; remove it from the input, or use --input-format auto")
    require_text(path, head)
    begin = _without_mark(head)
    suffix = Path(_without_suffix(path)).suffix
    if named in ("auto", "jsonl"):
        require_no_array(path, head)
    if named == "jsonl" or (named == "auto" and suffix in (".jsonl", ".ndjson", ".json")):
        return "jsonl"
    if named != "auto":
        return named
    if suffix != ".txt" and begin.startswith(b"{"):
        return "jsonl"
    return "wiki" if begin.startswith(b"<doc ") else options.plain_text


def require_text(path: str, head: bytes) -> None:
    """Raises InputError where a file that begins so is no text in UTF-8."""
    if head.count(0) > max(1, MAX_NUL_SHARE * len(head)) or head.startswith(BINARY_STARTS):
        what = "it begins like a binary file" if head.startswith(BINARY_STARTS) else "it has NUL bytes"
        raise InputError(f"{path} is no text ({what}); expected UTF-8, leave it out or convert it")


def require_no_array(path: str, head: bytes) -> None:
    """Raises InputError where a file that begins so is one array of JSON objects."""
    if re.match(rb"\[\s*\{", _without_mark(head)):
        raise InputError(f"{path} is one JSON array; expected an object in each line, as jq -c '.[]' makes them")


def _without_mark(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def _without_suffix(path: str) -> str:
    return path[: -len(Path(path).suffix)] if path.endswith(SUFFIXES) else path
