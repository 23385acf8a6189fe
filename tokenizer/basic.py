"""The basic tokenizer: text to words. Readable, and the rule that faster code must equal."""

import unicodedata

from tokenizer.chars import is_cjk, is_dropped, is_punctuation, is_whitespace


def split_words(text: str, cased: bool = False) -> list[str]:
    """Splits text into words and single punctuation characters, as `BasicTokenizer.tokenize` of google-research/bert.

    Unless `cased`, words are lower-cased and their accents removed (NFD without category Mn).

    >>> split_words("Café: 東京, naïve!")
    ['cafe', ':', '東', '京', ',', 'naive', '!']
    """
    words: list[str] = []
    for word in _clean(text).split():
        if not cased:
            word = _strip_accents(word.lower())
        words += _split_punctuation(word)
    # Lower-casing can leave a blank inside a word, which the reference splits once more.
    return " ".join(words).split()


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


def _strip_accents(word: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFD", word) if unicodedata.category(char) != "Mn")


def _split_punctuation(word: str) -> list[str]:
    pieces = []
    start = 0
    for position, char in enumerate(word):
        if is_punctuation(char):
            pieces += [word[start:position], char]
            start = position + 1
    return [piece for piece in [*pieces, word[start:]] if piece]
