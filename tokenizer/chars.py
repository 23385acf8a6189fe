"""The character classes of BERT's tokenizer (`tokenization.py` in google-research/bert)."""

import unicodedata

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


def is_whitespace(char: str) -> bool:
    r"""True for space, tab, newline, carriage return and category Zs.

    >>> is_whitespace("\u3000"), is_whitespace("\u200b")
    (True, False)
    """
    return char in " \t\n\r" or unicodedata.category(char) == "Zs"


def is_dropped(char: str) -> bool:
    """True for U+0000, U+FFFD, and the control (Cc) and format (Cf) characters that are not whitespace."""
    return char in "\0\ufffd" or (char not in "\t\n\r" and unicodedata.category(char) in ("Cc", "Cf"))


def is_punctuation(char: str) -> bool:
    """True for every ASCII sign that is no letter, digit or space ($ and ^ included), and for categories P*."""
    code_point = ord(char)
    if 33 <= code_point <= 47 or 58 <= code_point <= 64 or 91 <= code_point <= 96 or 123 <= code_point <= 126:
        return True
    return unicodedata.category(char).startswith("P")


def is_cjk(char: str) -> bool:
    """True for a CJK ideograph. Kana and hangul are written with spaces or split by WordPiece, and do not count."""
    code_point = ord(char)
    return code_point >= 0x3400 and any(first <= code_point <= last for first, last in CJK_BLOCKS)
