r"""Quotes in the quoted fields of CSV: doubled (RFC 4180), or behind a backslash, `\"`, as of Spark and MySQL."""

import re
from typing import Literal

Quotes = Literal["doubled", "backslash"]

ESCAPE = re.compile(r'\\(["\\\r\n])')  # without one of them a file reads the same either way
_QUOTED = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)  # up to the quote that ends a field


def double_quotes(line: str, delimiter: str, begins_quoted: bool) -> str:
    r"""A line whose quotes stand behind backslashes -> the same line with doubled quotes.

    Only what stands in quotes changes: a backslash elsewhere is itself, as Spark writes it.

    Args:
        line: of a CSV file.
        delimiter: between its fields.
        begins_quoted: whether it begins inside of a quoted field.

    >>> print(double_quotes(r'C:\\a,"say \"no\", C:\\a",\n', ",", begins_quoted=False))
    C:\\a,"say ""no"", C:\a",\n
    """
    pieces, at = [], 0
    if not begins_quoted:
        at = 1 if line.startswith('"') else _next_opening(line, delimiter, 0)
        pieces.append(line[:at])
    while at < len(line):
        quoted = _QUOTED.match(line, at)
        assert quoted  # it may be empty
        pieces.append(ESCAPE.sub(lambda escape: '""' if escape[1] == '"' else escape[1], quoted[0]))
        at = _next_opening(line, delimiter, quoted.end())
        pieces.append(line[quoted.end() : at])
    return "".join(pieces)


def _next_opening(line: str, delimiter: str, start: int) -> int:
    """Where the content of the next quoted field begins; the end of the line where there is none."""
    place = line.find(f'{delimiter}"', start)
    return len(line) if place < 0 else place + 2
