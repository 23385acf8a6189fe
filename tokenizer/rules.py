"""How a tokenizer of BERT treats text: Google's rules, and the settings in which other BERT tokenizers differ."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

MAX_WORD_LENGTH = 200  # code points; a longer word becomes [UNK], as in google-research/bert

_WORD_CHARACTER = re.compile(r"\w")


@dataclass(frozen=True)
class AddedToken:
    """A token added to a vocabulary that was finished: it is cut out of the text before anything else is done."""

    content: str
    id: int
    normalized: bool = False  # found in the text after lower-casing and the like; else in the text as it is written
    single_word: bool = False  # found only where no letter, digit or underscore touches it


@dataclass(frozen=True)
class TextRules:
    """The settings of a tokenizer. The defaults are those of google-research/bert for an uncased model."""

    cased: bool = False
    strip_accents: bool | None = None  # None: unless cased
    tokenize_chinese_chars: bool = True  # each CJK ideograph is a word of its own
    max_input_chars_per_word: int = MAX_WORD_LENGTH
    added_tokens: tuple[AddedToken, ...] = ()

    @property
    def strips_accents(self) -> bool:
        """Whether accents are removed."""
        return not self.cased if self.strip_accents is None else self.strip_accents

    def difference_from(self, cased: bool) -> str | None:
        """In what a dataset of ours differs from what a model with these rules was trained on; None: in nothing.

        A dataset has no added tokens, and words of 101 to 200 characters, which are rare, count as no difference.
        """
        if self.cased != cased:
            return "the model is cased, the dataset is not" if self.cased else "the dataset is cased, the model is not"
        if self.strips_accents == cased:
            here, there = json.dumps(not cased), json.dumps(self.strips_accents)
            return f"the model's tokenizer has strip_accents {there}, the dataset's {here}"
        if not self.tokenize_chinese_chars:
            return "the model's tokenizer has tokenize_chinese_chars false, the dataset's true"
        return None

    def to_dict(self) -> dict[str, Any]:
        """The settings that differ from Google's, but for `cased`, as JSON can hold them; `from_dict` reads them."""
        mine, googles = asdict(self), asdict(TextRules(self.cased))
        return {name: value for name, value in mine.items() if value != googles[name]}

    @classmethod
    def from_dict(cls, cased: bool, values: Mapping[str, Any]) -> "TextRules":
        """Raises TypeError where the values are none that `to_dict` gives."""
        added = tuple(AddedToken(**token) for token in values.get("added_tokens", ()))
        rules = cls(cased, **{**values, "added_tokens": added})
        flags = [flag for token in added for flag in (token.normalized, token.single_word)]
        if (
            not all(isinstance(flag, bool) for flag in (cased, rules.tokenize_chinese_chars, *flags))
            or not isinstance(rules.strip_accents, bool | None)
            or type(rules.max_input_chars_per_word) is not int
            or not all(isinstance(token.content, str) and type(token.id) is int for token in added)
        ):
            raise TypeError("a setting of the tokenizer has another type")
        return rules


UNCASED, CASED = TextRules(), TextRules(cased=True)


def as_rules(cased: bool | TextRules) -> TextRules:
    """The rules themselves, or Google's for a cased or an uncased model."""
    if isinstance(cased, TextRules):
        return cased
    return CASED if cased else UNCASED


def find_tokens(text: str, tokens: Mapping[str, AddedToken]) -> list[str | AddedToken]:
    """A text cut at tokens, which are given by how they are written: of several at one place the longest.

    >>> find_tokens("a <x> b", {"<x>": AddedToken("<x>", 9)})
    ['a ', AddedToken(content='<x>', id=9, normalized=False, single_word=False), ' b']
    """
    if not tokens:
        return [text]
    pattern = "|".join(map(re.escape, sorted(tokens, key=len, reverse=True)))
    parts: list[str | AddedToken] = []
    start = 0
    for match in re.finditer(pattern, text):
        token = tokens[match[0]]
        neighbours = text[max(match.start() - 1, 0) : match.start()] + text[match.end() : match.end() + 1]
        if token.single_word and _WORD_CHARACTER.search(neighbours):
            continue
        parts += [text[start : match.start()], token]
        start = match.end()
    return [part for part in [*parts, text[start:]] if part]
