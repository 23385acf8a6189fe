"""Reading: a part of a file, of whatever format and compression, to documents."""

import io
from collections.abc import Container, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from pipeline.documents import Document, InputFormat, ReadOptions, Rejected, clip
from pipeline.duplicates import key_of
from pipeline.files import (
    BLOCK_BYTES,
    DAMAGE,
    PARQUET_START,
    SUFFIXES,
    FilePart,
    decompress,
    read_lines,
)
from pipeline.formats import read_jsonl, read_parquet, read_text, read_wiki
from pipeline.storage import open_file, size_of
from tokenizer.errors import InputError

PEEK_BYTES = 4096
MAX_NUL_SHARE = 0.01  # more of a file's beginning: it is no text, or UTF-16


def read_documents(part: FilePart, options: ReadOptions, duplicates: Container[bytes] = ()) -> Iterator[Document]:
    """The documents of a part of a file, in their order; those whose keys are `duplicates` are rejected.

    Raises InputError when the file cannot be read, is no text, damaged, or does not have what the options name.
    """
    with open_file(part.path) as file:
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
            match _detect_format(part.path, stream, options.input_format):
                case "parquet":
                    documents = read_parquet(stream, part, options)
                case "jsonl":
                    documents = read_jsonl(read_lines(stream, part, block_bytes), options)
                case "wiki":
                    documents = read_wiki(read_lines(stream, part, block_bytes), options)
                case _:
                    documents = read_text(read_lines(stream, part, block_bytes), not part.start, options)
            for document in documents:
                yield _reject_duplicate(document, duplicates) if duplicates else document
    except (*DAMAGE, OSError, pa.ArrowException, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and not isinstance(error, DAMAGE) and not _is_of_decompressor(error):
            raise
        size = size_of(part.path)
        at = size if file.closed else file.tell()
        raise InputError(
            f"{part.path} is cut off or damaged near byte {at:,} of {size:,} ({_first_line(error)}); "
            "copy or download it again"
        ) from error


def _is_of_decompressor(error: OSError) -> bool:
    """Whether it says that data are damaged, not that a file, a disk or a network is."""
    return type(error) is OSError and error.errno is None


def _reject_duplicate(document: Document, duplicates: Container[bytes]) -> Document:
    if isinstance(document, Rejected) or document.id is None or key_of(document.id, document.text) not in duplicates:
        return document
    return Rejected(document.place, "another document has its id", clip(document.text))


def _detect_format(path: str, stream: io.BufferedReader, named: InputFormat) -> InputFormat:
    """What the file is, by its beginning and its name. Raises InputError where it can be none of the formats."""
    head = stream.peek(PEEK_BYTES)[:PEEK_BYTES]
    if head.startswith(PARQUET_START) and named in ("auto", "parquet"):
        return "parquet"
    if named == "parquet":
        raise InputError(f"{path} is no Parquet file; leave it out, or leave --input-format to us")
    if head.count(0) > max(1, MAX_NUL_SHARE * len(head)):
        raise InputError(f"{path} is no text (it has NUL bytes); expected UTF-8, leave it out or convert it")
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    suffix = Path(_without_suffix(path)).suffix
    if named == "jsonl" or (named == "auto" and suffix in (".jsonl", ".ndjson", ".json")):
        if begin.startswith(b"["):
            raise InputError(f"{path} is one JSON array; expected an object in each line, as jq -c '.[]' makes them")
        return "jsonl"
    if named != "auto":
        return named
    if suffix != ".txt" and begin.startswith(b"{"):
        return "jsonl"
    return "wiki" if begin.startswith(b'<doc id="') else "text"


def _without_suffix(path: str) -> str:
    return path[: -len(Path(path).suffix)] if path.endswith(SUFFIXES) else path


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
