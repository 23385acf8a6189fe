"""The basic tokenizer: text to words. Readable, and the rule that faster code must equal."""

import unicodedata
from itertools import groupby

from maskmill.tokenizer.chars import is_cjk, is_dropped, is_mark, is_punctuation, is_unassigned, is_whitespace
from maskmill.tokenizer.rules import TextRules, as_rules, find_tokens


def split_words(text: str, cased: bool | TextRules = False) -> list[str]:
    """Splits text into words and single punctuation characters, as `BasicTokenizer.tokenize` of google-research/bert.

    Unless `cased`, words are lower-cased and their accents removed (NFD without category Mn). Other rules may be given
    in place of `cased`; their added tokens are not looked for.

    >>> split_words("Café: 東京, naïve!")
    ['cafe', ':', '東', '京', ',', 'naive', '!']
    """
    rules = as_rules(cased)
    words: list[str] = []
    for word in _clean(text, rules).split():
        words += _split_punctuation(_fold(word, rules))
    return words


def split_off_added(text: str, rules: TextRules) -> list[str | int]:
    """A text cut at the added tokens of the rules: stretches of text, and the ids of the tokens between them.

    First the tokens that are found as they are written, then in what is left, normalized, the normalized ones, as the
    `tokenizers` library does it.
    """
    as_written = {token.content: token for token in rules.added_tokens if not token.normalized}
    normalized = {_normalize(token.content, rules): token for token in rules.added_tokens if token.normalized}
    parts: list[str | int] = []
    for part in find_tokens(text, as_written):
        rest = find_tokens(_normalize(part, rules), normalized) if normalized and isinstance(part, str) else [part]
        parts += [one if isinstance(one, str) else one.id for one in rest]
    return parts


def _normalize(text: str, rules: TextRules) -> str:
    return " ".join(_fold(word, rules) for word in _clean(text, rules).split(" "))


def _clean(text: str, rules: TextRules) -> str:
    """Drops control characters, makes every blank a space, and sets each CJK ideograph apart."""
    cleaned = []
    for char in text:
        if is_dropped(char):
            continue
        if is_whitespace(char):
            cleaned.append(" ")
        elif rules.tokenize_chinese_chars and is_cjk(char):
            cleaned.append(f" {char} ")
        else:
            cleaned.append(char)
    return "".join(cleaned)


def _fold(word: str, rules: TextRules) -> str:
    """Lower-cases a word and takes its accents off, as far as the rules say so.

    What Unicode 14 does not assign has neither case nor accents, and ends the context of what has: so the runs of
    characters between are folded each by itself, and every version of Python gives the same.
    """
    if rules.cased and not rules.strips_accents:
        return word
    runs = groupby(word, is_unassigned)
    return "".join("".join(run) if unassigned else _fold_run("".join(run), rules) for unassigned, run in runs)


def _fold_run(word: str, rules: TextRules) -> str:
    if not rules.cased:
        word = word.lower()
    if not rules.strips_accents:
        return word
    return "".join(char for char in unicodedata.normalize("NFD", word) if not is_mark(char))


def _split_punctuation(word: str) -> list[str]:
    pieces = []
    start = 0
    for position, char in enumerate(word):
        if is_punctuation(char):
            pieces += [word[start:position], char]
            start = position + 1
    return [piece for piece in [*pieces, word[start:]] if piece]
