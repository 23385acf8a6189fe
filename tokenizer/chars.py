"""The character classes of BERT's tokenizer (`tokenization.py` in google-research/bert), for every Python the same.

The reference takes its classes from Python's Unicode tables, which grow with every version. Ours stand in
`unicode_14.txt`, made by the Python 3.11 that also made the golden files; a character that Unicode 14 does not know
is one that nothing is done to. To write the file anew:
`python3.11 -m maskmill.tokenizer.chars > tokenizer/unicode_14.txt`.
"""

import unicodedata
from enum import IntEnum
from itertools import groupby
from pathlib import Path

CJK_BLOCKS = (
    (0x4E00, 0x9FFF),  # CJK Unified Ideographs
    (0x3400, 0x4DBF),  # Extension A
    (0x20000, 0x2A6DF),  # Extension B
    (0x2A700, 0x2B73F),  # Extension C
    (0x2B740, 0x2B81F),  # Extension D
    (0x2B820, 0x2CEAF),  # Extension E
    (0xF900, 0xFAFF),  # Compatibility Ideographs
    (0x2F800, 0x2FA1F),  # Compatibility Ideographs Supplement
)


class CharClass(IntEnum):
    """What the basic tokenizer does to a character; a character has one class."""

    OTHER = 0  # kept, lower-cased unless cased: letters, digits, symbols
    WHITESPACE = 1  # ends a word
    DROPPED = 2  # as if it were not there
    PUNCTUATION = 3  # a word of its own
    CJK = 4  # a word of its own
    MARK = 5  # an accent: dropped unless cased
    UNASSIGNED = 6  # kept, and never lower-cased, whatever a newer Python would do


def is_whitespace(char: str) -> bool:
    r"""True for tab, newline, carriage return, the blanks (Zs), and the separators of lines and paragraphs.

    >>> is_whitespace("\u3000"), is_whitespace("\u200b")
    (True, False)
    """
    return _CLASSES[ord(char)] == CharClass.WHITESPACE


def is_dropped(char: str) -> bool:
    """True for U+FFFD, and for the control (Cc) and format (Cf) characters that are not whitespace."""
    return _CLASSES[ord(char)] == CharClass.DROPPED


def is_punctuation(char: str) -> bool:
    """True for every ASCII sign that is no letter, digit or space ($ and ^ included), and for categories P*."""
    return _CLASSES[ord(char)] == CharClass.PUNCTUATION


def is_cjk(char: str) -> bool:
    """True for a CJK ideograph. Kana and hangul are written with spaces or split by WordPiece, and do not count."""
    return _CLASSES[ord(char)] == CharClass.CJK


def is_mark(char: str) -> bool:
    """True for what stands over or under a letter without a width of its own (Mn): accents, vowel points."""
    return _CLASSES[ord(char)] == CharClass.MARK


def is_unassigned(char: str) -> bool:
    """True for a code point that is no character in Unicode 14 (Cn)."""
    return _CLASSES[ord(char)] == CharClass.UNASSIGNED


def classify(char: str) -> CharClass:
    """The class of a character by the Unicode tables of the running Python: the rule that `unicode_14.txt` records."""
    category = unicodedata.category(char)
    # str.split, with which the reference ends, also takes Zl and Zp for blanks.
    if char in "\t\n\r" or category in ("Zs", "Zl", "Zp"):
        return CharClass.WHITESPACE
    if char == "\ufffd" or category in ("Cc", "Cf"):
        return CharClass.DROPPED
    if category.startswith("P") or char in "$+<=>^`|~":
        return CharClass.PUNCTUATION
    if any(first <= ord(char) <= last for first, last in CJK_BLOCKS):
        return CharClass.CJK
    return {"Mn": CharClass.MARK, "Cn": CharClass.UNASSIGNED}.get(category, CharClass.OTHER)


def write_classes() -> str:
    """The text of `unicode_14.txt`: a line for each run of code points of one class, `OTHER` left out."""
    if unicodedata.unidata_version != "14.0.0":
        raise SystemExit(f"this Python has Unicode {unicodedata.unidata_version}; Python 3.11 has 14.0.0: use that")
    lines = ["# Character classes of BERT's tokenizer, by Unicode 14.0.0; how to write this file: tokenizer/chars.py\n"]
    for char_class, run in groupby(range(0x110000), lambda code_point: classify(chr(code_point))):
        if char_class != CharClass.OTHER:
            code_points = list(run)
            lines.append(f"{code_points[0]:04X}..{code_points[-1]:04X} {char_class.name}\n")
    return "".join(lines)


def _read_classes() -> bytes:
    """The class of every code point."""
    classes = bytearray(0x110000)
    for line in Path(__file__).with_name("unicode_14.txt").read_text("ascii").splitlines()[1:]:
        code_points, name = line.split()
        first, last = (int(code_point, 16) for code_point in code_points.split(".."))
        classes[first : last + 1] = bytes([CharClass[name]]) * (last - first + 1)
    return bytes(classes)


if __name__ == "__main__":
    print(write_classes(), end="")
else:
    _CLASSES = _read_classes()
