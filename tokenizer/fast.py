"""The ids of the readable tokenizer, many lines at a time."""

import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from maskmill.tokenizer.basic import split_off_added, split_words
from maskmill.tokenizer.ragged import Ragged
from maskmill.tokenizer.rules import TextRules, as_rules
from maskmill.tokenizer.trie import PieceTrie
from maskmill.tokenizer.vocab import Vocab

BLOCK_CHARACTERS = 1 << 21  # tokenised at a time: bounds the memory
SPACE = ord(" ")
CAPITAL_SIGMA = ord("Σ")


class FastTokenizer:
    """Lines of text to one flat array of ids, equal to those of `FullTokenizer`.

    No rule of the tokenizer looks across a space, and text repeats itself: so only the distinct stretches between
    spaces are split into words, and only the distinct words into pieces.
    """

    def __init__(self, vocab: Vocab, cased: bool | TextRules = False):
        """With other rules in place of `cased`, as `FullTokenizer` with them."""
        self._rules = as_rules(cased)
        self.dtype = id_dtype(max([len(vocab), *(token.id + 1 for token in self._rules.added_tokens)]))
        self._words = WordSplitter(self._rules)
        self._trie = PieceTrie(vocab, self._rules.max_input_chars_per_word)

    def encode(self, lines: Iterable[str]) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
        """Lines to `(ids, offsets)`: line `i` has `ids[offsets[i]:offsets[i + 1]]`.

        Returns:
            ids: uint16, or uint32 for a vocabulary of more than 65,536 tokens, [tokens of all lines].
            offsets: int64 [lines + 1].
        """
        if self._rules.added_tokens:
            return self._encode_around_added(lines)
        return self._encode_plain(list(lines))

    def _encode_plain(self, lines: list[str]) -> Ragged:
        blocks = [self._encode_block(block) for block in _blocks(lines)]
        ids = [np.zeros(0, self.dtype), *(block.values for block in blocks)]
        lengths = [np.zeros(0, np.int64), *(block.lengths for block in blocks)]
        return Ragged.from_lengths(np.concatenate(ids), np.concatenate(lengths))

    def _encode_around_added(self, lines: Iterable[str]) -> Ragged:
        """As `encode`, of lines that added tokens are cut out of."""
        parts = [split_off_added(line, self._rules) for line in lines]
        texts = self._encode_plain([part for line in parts for part in line if isinstance(part, str)])
        rows = iter(np.split(texts.values, texts.offsets[1:-1]))
        ids = [np.array([part], self.dtype) if isinstance(part, int) else next(rows) for line in parts for part in line]
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        part_offsets = np.append(0, np.cumsum([len(line) for line in parts], dtype=np.int64))
        together = Ragged.from_lengths(np.concatenate([np.zeros(0, self.dtype), *ids]), lengths)
        return Ragged(together.values, together.offsets[part_offsets])

    def _encode_block(self, lines: list[str]) -> Ragged:
        stretches, line_offsets = split_at_spaces(lines)
        distinct, numbers = stretches.distinct()
        ids = self._encode_stretches(distinct).take(numbers)
        return Ragged(ids.values, ids.offsets[line_offsets])

    def _encode_stretches(self, stretches: Ragged) -> Ragged:
        words, stretch_offsets = self._words.split(stretches)
        distinct, numbers = words.distinct()
        pieces = self._trie.split(distinct)
        ids = pieces._replace(values=pieces.values.astype(self.dtype)).take(numbers)
        return Ragged(ids.values, ids.offsets[stretch_offsets])


class WordSplitter:
    """Stretches of text to words, equal to those of `split_words`.

    The basic tokenizer treats nearly every code point by itself. So it is asked once what becomes of each (`É` is `e`,
    `,` is a comma between spaces, U+0000 nothing), and the words are what stands between the spaces of all that.
    """

    def __init__(self, cased: bool | TextRules = False):
        self._rules = as_rules(cased)
        self._rows = np.full(0x110000, -1, np.int32)  # code point -> its row in _outcomes; -1: not met yet
        self._outcomes = Ragged.from_strings([])
        self._is_contextual = np.zeros(0x110000, bool)

    def split(self, stretches: Ragged) -> tuple[Ragged, NDArray[np.int64]]:
        """Stretches, rows of code points, to `(words, offsets)`: stretch `i` has words `offsets[i]:offsets[i + 1]`.

        A stretch ends with a space.
        """
        outcomes = self._look_up(stretches.values)
        if len(places := np.flatnonzero(self._is_contextual[stretches.values])):
            rows = np.unique(np.searchsorted(stretches.offsets, places, side="right") - 1)
            stretches = _split_readably(stretches, rows, self._rules)
            outcomes = self._look_up(stretches.values)
        is_in_word = outcomes.values != SPACE
        edges = np.flatnonzero(np.diff(is_in_word, prepend=False))
        starts, ends = edges[::2], edges[1::2]
        words = Ragged.from_lengths(outcomes.values[is_in_word], ends - starts)
        return words, np.searchsorted(starts, outcomes.offsets[stretches.offsets])

    def _look_up(self, code_points: NDArray[np.unsignedinteger]) -> Ragged:
        rows = self._rows[code_points]
        if (is_new := rows < 0).any():
            self._learn(np.unique(code_points[is_new]))
            rows = self._rows[code_points]
        return self._outcomes.take(rows)

    def _learn(self, code_points: NDArray[np.unsignedinteger]) -> None:
        outcomes = [" ".join(split_words(f"a{chr(code_point)}a", self._rules))[1:-1] for code_point in code_points]
        new = Ragged.from_strings(outcomes)
        self._rows[code_points] = np.arange(len(code_points)) + len(self._outcomes.lengths)
        self._outcomes = Ragged.from_lengths(
            np.append(self._outcomes.values, new.values), np.append(self._outcomes.lengths, new.lengths)
        )
        # A sigma is lowered by its place in the word, and NFD sorts what combines with the letter before it.
        if not self._rules.cased:
            self._is_contextual[code_points] = code_points == CAPITAL_SIGMA
        if self._rules.strips_accents:
            self._is_contextual[code_points] |= [any(map(unicodedata.combining, outcome)) for outcome in outcomes]


def split_at_spaces(lines: list[str]) -> tuple[Ragged, NDArray[np.int64]]:
    """Lines to `(stretches, offsets)`: line `i` has the stretches `offsets[i]:offsets[i + 1]`.

    A stretch is a row of code points up to and with a space, or the line's end, which becomes a space.
    """
    text = " ".join([*lines, ""])
    code_points = _to_code_points(text)
    spaces = np.flatnonzero(code_points == SPACE)
    line_ends = np.cumsum(_lengths(lines))
    return Ragged(code_points, np.append(0, spaces + 1)), np.append(0, np.searchsorted(spaces, line_ends))


def _split_readably(stretches: Ragged, rows: NDArray[np.int64], rules: TextRules) -> Ragged:
    """Puts a space after each word of the stretches `rows`. What is split like that stays as it is."""
    words = Ragged.from_strings(
        [" ".join([*split_words(stretch, rules), ""]) for stretch in stretches.take(rows).to_strings()]
    )
    both = Ragged.from_lengths(np.append(stretches.values, words.values), np.append(stretches.lengths, words.lengths))
    numbers = np.arange(len(stretches.lengths))
    numbers[rows] = len(numbers) + np.arange(len(rows))
    return both.take(numbers)


def _to_code_points(text: str) -> NDArray[np.unsignedinteger]:
    """The code points of a text in the smallest dtype that holds them."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    utf_16 = text.encode("utf-16-le", "surrogatepass")
    if len(utf_16) == 2 * len(text):
        return np.frombuffer(utf_16, np.uint16)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _blocks(lines: list[str]) -> Iterator[list[str]]:
    """The lines in lists of about BLOCK_CHARACTERS."""
    blocks = np.cumsum(_lengths(lines)) // BLOCK_CHARACTERS
    bounds = [0, *(np.flatnonzero(np.diff(blocks)) + 1), len(lines)]
    return (lines[start:end] for start, end in pairwise(bounds))


def _lengths(lines: list[str]) -> NDArray[np.int64]:
    """The characters of each line, and one for its end."""
    return np.fromiter(map(len, lines), np.int64, len(lines)) + 1


def id_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """The smallest dtype that holds every id of a vocabulary."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)
