"""Vocabulary files: one token a line, its id the line number counted from 0."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import parse_json

PAD, UNK, CLS, SEP, MASK = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Vocab:
    """The tokens of a WordPiece vocabulary, in the order of their ids.

    >>> vocab = Vocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "un", "##affable"])
    >>> vocab.ids["##affable"], vocab.tokens[5], len(vocab)
    (6, 'un', 7)
    """

    def __init__(self, tokens: Sequence[str], name: str = "vocabulary"):
        """Raises InputError, calling the vocabulary `name`, when a token is blank, doubled or a special one missing."""
        self.tokens = list(tokens)
        self.ids = {token: id for id, token in enumerate(self.tokens)}
        self.name = name
        for token in SPECIAL_TOKENS:
            if token not in self.ids:
                raise InputError(f"{name} has no {token}", way_out="train a vocabulary with 'maskmill vocab'")
        if not self.ordinary_ids:
            raise InputError(f"{name} has special tokens only", way_out="train a vocabulary with 'maskmill vocab'")
        if "" in self.ids:
            raise InputError(f"{name}, line {self.ids[''] + 1}: blank", way_out="every line holds one token")
        for id, token in enumerate(self.tokens):
            if self.ids[token] != id and token.strip():  # a blank one comes from no text, whichever its id is
                raise InputError(
                    f"{name}, line {self.ids[token] + 1}: {token!r} stands in line {id + 1} already",
                    way_out="a token has one id, remove one of them",
                )

    def __reduce__(self) -> tuple[type["Vocab"], tuple[list[str], str]]:
        """Pickles the tokens alone, a third of all."""
        return Vocab, (self.tokens, self.name)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Vocab":
        """Reads a vocabulary file: UTF-8, one token a line, blanks around a token ignored.

        Raises InputError when the file is missing, no text, or not a BERT vocabulary.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            way_out = "train a vocabulary with 'maskmill vocab', or give the path of one"
            if isinstance(error, PermissionError):
                way_out = "change its permissions"
            raise InputError(
                f"vocab_file {os.fspath(path)} cannot be read ({error.strerror})", way_out=way_out
            ) from error
        return cls.parse(content, os.fspath(path))

    @classmethod
    def parse(cls, content: bytes, path: str) -> "Vocab":
        """As `load`, of what was read from a path."""
        name = f"vocab_file {path}"
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            kind = "a SentencePiece model" if b"\xe2\x96\x81" in error.object else "not UTF-8 text"
            raise InputError(
                f"{name} is {kind} (byte {error.start})", way_out="give a vocab.txt, one token a line"
            ) from error
        _check_form(text, name)
        return cls(parse_tokens(text), name)

    def to_text(self) -> str:
        """The file's text: one token a line."""
        return "".join(token + "\n" for token in self.tokens)

    @cached_property
    def sha256(self) -> str:
        """The checksum of `to_text()` in UTF-8, which names the vocabulary in a dataset's manifest."""
        return hashlib.sha256(self.to_text().encode()).hexdigest()

    @cached_property
    def ordinary_ids(self) -> list[int]:
        """The ids that text can have: all but `[PAD]`, `[MASK]`, `[unused7]` and their like, and but blanks.

        The basic tokenizer splits every bracket off, so no other token of the form `[...]` comes from text.
        """
        return [
            id
            for id, token in enumerate(self.tokens)
            if token.strip() and not (len(token) > 2 and token.startswith("[") and token.endswith("]"))
        ]

    @cached_property
    def is_continuation(self) -> list[bool]:
        """For each id: does the token continue a word (`##...`)?"""
        return [len(token) > 2 and token.startswith("##") for token in self.tokens]

    def text_of(self, id: int) -> str:
        """What a token stands for in a word: the token without its `##`."""
        return self.tokens[id][2:] if self.is_continuation[id] else self.tokens[id]

    @property
    def looks_cased(self) -> bool:
        """True when the vocabulary seems to be a cased one, see `look_cased`."""
        return look_cased(self.tokens)

    def __len__(self) -> int:
        return len(self.tokens)


def look_cased(tokens: Iterable[str]) -> bool:
    """True when more than one in fifty of the tokens with letters is not in lower case, those in brackets left out.

    An uncased vocabulary may have a few, as Google's Chinese one does; a cased one has far more.
    """
    with_case = [token for token in tokens if token[:1] != "[" and token.lower() != token.upper()]
    return sum(token != token.lower() for token in with_case) > len(with_case) / 50


def parse_tokens(text: str) -> list[str]:
    r"""The tokens in the text of a vocabulary file, in the order of their ids.

    As `load_vocab` of google-research/bert: lines end at `\n` alone, and blanks around a token are no part of it. A
    token that is nothing but blanks stays as it is written: no text holds it, but the tokens after it keep their ids.
    The line ends of Windows (on every line) and of old Macs (where there is no `\n`) are taken for line ends.

    >>> parse_tokens("a\n\u2028\nb \n")
    ['a', '\u2028', 'b']
    """
    if "\n" not in text:
        text = text.replace("\r", "\n")
    elif text.count("\r\n") == text.count("\n"):
        text = text.replace("\r\n", "\n")
    return [line.strip() or line for line in text.removesuffix("\n").split("\n")]


def _check_form(text: str, name: str) -> None:
    """Raises InputError for the vocabularies of other programs, which hold more than a token a line."""
    if text.lstrip().startswith(("{", "[")) and _is_json(text):
        raise InputError(f"{name} is JSON", way_out="give the vocab.txt that belongs to it, one token a line")
    for number, line in enumerate(text.split("\n"), 1):
        if "\t" in line.strip():
            raise InputError(
                f"{name}, line {number}: {line[:40]!r} has a tab, as in a SentencePiece vocabulary",
                way_out="give a vocab.txt of WordPiece, one token a line and nothing else",
            )


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True
