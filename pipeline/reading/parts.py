"""Reading: a part of a file, of whatever format and compression, to documents."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from maskmill.pipeline.reading.compression import SUFFIXES, decompress
from maskmill.pipeline.reading.documents import Document, InputFormat, ReadOptions, Rejected
from maskmill.pipeline.reading.files import BLOCK_BYTES, PARQUET_START, FilePart, read_lines
from maskmill.pipeline.reading.formats import (
    has_wiki_urls,
    read_jsonl,
    read_parquet,
    read_single_lines,
    read_text,
    read_wiki,
)
from maskmill.pipeline.reading.kinds import require_documents, require_documents_by_name, require_text
from maskmill.pipeline.storage.storage import open_file, size_of
from maskmill.tokenizer.errors import DamagedError, InputError, NeedsMemoryError, NoRoomError, first_line

PEEK_BYTES = 4096
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
JSON_ARRAY = re.compile(rb"\[\s*\{|\[[ \t]*\r?\n")
JSON_OBJECT = re.compile(rb'\{\s*["}]')
FOLDED_OBJECT = re.compile(rb"\{[ \t]*\r?\n|\{[^\n]*[,{\[][ \t]*\r?\n")  # over several lines


def read_documents(part: FilePart, options: ReadOptions) -> Iterator[Document | Rejected]:
    """The documents of a part of a file, in their order.

    Raises InputError when the file cannot be read, is no text, damaged, or does not have what the options name.
    """
    with open_file(part.path, part.version) as file:
        yield from read_stream(part, file, options)


def read_stream(
    part: FilePart,
    file: BinaryIO,
    options: ReadOptions,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Document | Rejected]:
    """The documents of an open file, as `read_documents`; its path helps to tell its format and is named in errors."""
    try:
        with decompress(file, block_bytes) as stream:
            lines = read_lines(stream, part, block_bytes, options.longest)
            match _detect_format(part.path, stream, options):
                case "parquet":
                    documents = read_parquet(stream, part, options)
                case "jsonl":
                    documents = read_jsonl(lines, options)
                case "lines":
                    documents = read_single_lines(lines, options)
                case "wiki":
                    has_urls = has_wiki_urls(stream.peek(PEEK_BYTES))
                    documents = read_wiki(lines, not part.start, options, has_urls)
                case _:
                    documents = read_text(lines, not part.start, options)
            yield from documents
    except NoRoomError as error:
        raise InputError(f"{part.path}: {error.problem}", way_out=error.way_out) from error
    except MemoryError as error:
        raise InputError(
            f"{part.path}: memory ran out while a document was read",
            way_out=(
                f"give a smaller --max-document-bytes than {options.max_document_bytes:,}, fewer --num-workers, "
                "or free some memory"
            ),
        ) from error
    except NeedsMemoryError as error:
        raise error.explain(part.path) from error
    except DamagedError as error:
        size = size_of(part.path)
        at = size if file.closed else file.tell()
        raise InputError(
            f"is cut off or damaged near byte {at:,} of {size:,} ({first_line(error)})",
            way_out="copy or download it again",
            path=part.path,
        ) from error


def _detect_format(path: str, stream: io.BufferedReader, options: ReadOptions) -> InputFormat:
    """What the file is, by its beginning and its name. Raises InputError where it can be none of the formats."""
    named = options.input_format
    head = stream.peek(PEEK_BYTES)[:PEEK_BYTES]
    if head.startswith(PARQUET_START) and named in ("auto", "parquet"):
        return "parquet"
    require_text(path, head)
    suffix = Path(_without_suffix(path)).suffix.lower()
    if named == "parquet":
        raise InputError(
            "is not a Parquet file", way_out="remove it from the input, or use --input-format auto", path=path
        )
    if named == "auto" and suffix == ".parquet":
        raise InputError(
            "is not a Parquet file, though its name says so", way_out="copy or download it again", path=path
        )
    begin = _without_mark(head)
    if named == "jsonl" or (named == "auto" and suffix in JSON_SUFFIXES):
        require_json_lines(path, head)
        return "jsonl"
    if named != "auto":
        return named
    require_documents_by_name(path)
    if suffix != ".txt" and (JSON_OBJECT.match(begin) or re.match(rb"\[\s*\{", begin)):
        require_json_lines(path, head)
        return "jsonl"
    if begin.startswith(b"<doc "):
        return "wiki"
    require_documents(path, begin)
    return options.plain_text


def require_json_lines(path: str, head: bytes) -> None:
    """Raises InputError where JSON that begins so is one array, or one object over several lines."""
    begin = _without_mark(head)
    if JSON_ARRAY.match(begin):
        raise InputError("is one JSON array", expected="an object in each line, as jq -c '.[]' makes them", path=path)
    if FOLDED_OBJECT.match(begin):
        raise InputError(
            "has a JSON object over several lines", expected="one a line, as jq -c . makes them", path=path
        )


def _without_mark(head: bytes) -> bytes:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()


def _without_suffix(path: str) -> str:
    return path[: -len(Path(path).suffix)] if path.lower().endswith(SUFFIXES) else path
