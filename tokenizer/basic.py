"""The basic tokenizer: text to words. Readable, and the rule that faster code must equal."""

import unicodedata
from itertools import groupby

from tokenizer.chars import is_cjk, is_dropped, is_mark, is_punctuation, is_unassigned, is_whitespace


def split_words(text: str, cased: bool = False) -> list[str]:
    """Splits text into words and single punctuation characters, as `BasicTokenizer.tokenize` of google-research/bert.

    Unless `cased`, words are lower-cased and their accents removed (NFD without category Mn).

    >>> split_words("Café: 東京, naïve!")
    ['cafe', ':', '東', '京', ',', 'naive', '!']
    """
    words: list[str] = []
    for word in _clean(text).split():
        words += _split_punctuation(word if cased else _fold(word))
    return words


def _clean(text: str) -> str:
    """Drops control characters, makes every blank a space, and sets each CJK ideograph apart."""
    cleaned = []
    for char in text:
        if is_dropped(char):
            continue
        if is_whitespace(char):
            cleaned.append(" ")
        elif is_cjk(char):
            cleaned.append(f" {char} ")
        else:
            cleaned.append(char)
    return "".join(cleaned)


def _fold(word: str) -> str:
    """Lower-cases a word and takes its accents off.

    What Unicode 14 does not assign has neither case nor accents, and ends the context of what has: so the runs of
    characters between are folded each by itself, and every version of Python gives the same.
    """
    runs = groupby(word, is_unassigned)
    return "".join("".join(run) if unassigned else _strip_accents("".join(run).lower()) for unassigned, run in runs)


def _strip_accents(word: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", word) if not is_mark(char))


def _split_punctuation(word: str) -> list[str]:
    pieces = []
    start = 0
    for position, char in enumerate(word):
        if is_punctuation(char):
            pieces += [word[start:position], char]
            start = position + 1
    return [piece for piece in [*pieces, word[start:]] if piece]
