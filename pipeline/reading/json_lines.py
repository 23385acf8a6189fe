"""JSON lines: an object in each line."""

import json
from collections.abc import Iterator
from typing import Any

import orjson

from maskmill.pipeline.reading.documents import EXCERPT_CHARACTERS, clip
from maskmill.pipeline.reading.files import LineBlocks

NEWLINE = ord("\n")


class BadLineError(ValueError):
    """A line that holds no JSON. Its text is the reason, as reports count it."""


class BlankLineError(BadLineError):
    """A line that holds nothing."""


class MalformedLineError(BadLineError):
    """A line that holds something else than JSON."""


def number_lines(blocks: LineBlocks) -> Iterator[tuple[int, memoryview]]:
    """The lines of a part that begin in it, each with its end, numbered from 1."""
    number = 0
    for data, begins_in_part in blocks:
        if not begins_in_part:
            return
        start, view = 0, memoryview(data)
        while start < len(data):
            end = data.find(b"\n", start) + 1 or len(data)
            number += 1
            yield number, view[start:end]
            start = end


def length_of(line: memoryview) -> int:
    """The bytes of a line without its end."""
    return len(line) - (line[-1] == NEWLINE)


def parse_line(line: memoryview) -> tuple[Any, bool]:
    """The value in a line, and whether its strings are known to be whole. Raises BadLineError where there is none."""
    try:
        return orjson.loads(line), True
    except orjson.JSONDecodeError:
        text = bytes(line)
        if text.isspace():
            raise BlankLineError from None
        try:
            return json.loads(text), False  # slower, and takes what orjson does not, such as NaN and lone surrogates
        except UnicodeDecodeError:
            raise BadLineError("invalid UTF-8") from None
        except (ValueError, RecursionError):
            raise MalformedLineError("malformed JSON") from None


def excerpt_of(line: memoryview) -> str:
    """The beginning of a line, to be shown."""
    return clip(bytes(line[: 4 * EXCERPT_CHARACTERS]).decode(errors="replace").removesuffix("\n"))


def field_of(record: Any, name: str) -> Any:
    """The field of a JSON object; `a.b` is the field b of the object a, unless there is one called "a.b".

    Raises KeyError where it is not there.
    """
    if isinstance(record, dict) and name in record:
        return record[name]
    for part in name.split("."):
        if not isinstance(record, dict) or part not in record:
            raise KeyError(name)
        record = record[part]
    return record
