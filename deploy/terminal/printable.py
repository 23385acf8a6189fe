"""Text from data as it can be shown: what would act on a terminal or a page, or hide, is written as an escape."""

import re

# Control characters but for line ends and tabs, what changes the direction of text, what has no width, code points that
# are no characters, and halves of surrogate pairs. The zero-width joiner and non-joiner, and tags, may belong to a word
# or an emoji, see `visible`.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f\ud800-\udfff]"
)
_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,10}\U000e007f")  # of England, Scotland, Wales
_JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    r"""Text with an escape, as Python writes it, for each character that would act on a terminal or hide in the text.

    Letters, marks and emoji of all scripts stay as they are, and so do line ends and tabs.

    >>> print(visible("a\x1b[31mb\u202e"), visible("می‌خواهم"))
    a\x1b[31mb\u202e می‌خواهم
    """
    if text.isascii() and text.isprintable():
        return text
    flags = [match.span() for match in _FLAG.finditer(text)]

    def replace(match: re.Match[str]) -> str:
        place, character = match.start(), match[0]
        if character in _JOINERS and _joins(text, place):
            return character
        if any(start < place < end for start, end in flags):
            return character
        return escaped(character)

    return _HIDDEN.sub(replace, text)


def visible_in_line(text: str) -> str:
    """As `visible`, of text that is one line: line ends and tabs are escaped, too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def visible_in_json(text: str) -> str:
    """A JSON text whose strings hold no character of those; it has the same value."""
    return _HIDDEN.sub(lambda match: _json_escape(match[0]), text)


def escaped(character: str) -> str:
    """The escape of a character in Python."""
    return character.encode("unicode_escape").decode()


def _joins(text: str, place: int) -> bool:
    """Whether a joiner stands behind a character of a script or an emoji that may need one, as in Persian or Hindi."""
    before, after = text[max(place - 1, 0) : place], text[place + 1 : place + 2]
    is_latin = after.isascii() and after.isalnum()
    return before > "\x9f" and not is_latin and not _HIDDEN.search(before + after)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))
