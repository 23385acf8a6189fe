"""Counting the words of a corpus of any size, in parts that are counted apart and merged in any order."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskmill.tokenizer.fast import WordSplitter, split_at_spaces

MAX_WORDS = 2_000_000  # distinct words that are counted one by one, about 300 MB of them
MAX_FREQUENT_WORDS = 500_000  # when there are more, about so many are counted, the most frequent ones
BUCKET_BITS = 22  # a sketch has two rows of 2 ** 22 buckets, 64 MB


def count_words(splitter: WordSplitter, lines: Iterable[str]) -> dict[str, int]:
    """Lines to their words, as BERT's basic tokenizer makes them, and how often each occurs.

    >>> count_words(WordSplitter(), ["To be, or", "not to be"])
    {'to': 2, 'be': 2, ',': 1, 'or': 1, 'not': 1}
    """
    stretches, _ = split_at_spaces(list(lines))
    stretches, numbers = stretches.distinct()
    words, offsets = splitter.split(stretches)
    occurrences = np.repeat(np.bincount(numbers), np.diff(offsets))
    words, numbers = words.distinct()
    counts = np.bincount(numbers, occurrences, minlength=len(words.lengths))
    return dict(zip(words.to_strings(), counts.astype(np.int64).tolist()))


class Sketch:
    """Bounds from above how often each word occurs, in constant memory: a count-min sketch of two rows.

    A word falls into one bucket of each row, and its count is not more than the smaller sum of the two.
    Source: Cormode and Muthukrishnan, "An improved data stream summary" (2005).
    """

    def __init__(self) -> None:
        self.sums = np.zeros((2, 1 << BUCKET_BITS), np.int64)

    def add(self, counts: Mapping[str, int]) -> None:
        """Adds words that were counted."""
        for row, buckets in zip(self.sums, _buckets_of(counts)):
            np.add.at(row, buckets, list(counts.values()))

    def find_frequent(self, max_words: int) -> "FrequentWords":
        """Chooses the smallest floor that not more than `max_words` buckets of a row reach."""
        largest = np.partition(self.sums[0], -max_words - 1)[-max_words - 1]
        floor = int(largest) + 1
        return FrequentWords(floor, int(self.sums[0].sum()), self.sums >= floor)


@dataclass(frozen=True)
class FrequentWords:
    """Passes every word that occurs `floor` times or more, and a few rarer ones."""

    floor: int
    occurrences: int  # of all words
    is_frequent: NDArray[np.bool]  # [rows, buckets]

    def select(self, counts: Mapping[str, int]) -> dict[str, int]:
        """The words that pass, with their counts."""
        first, second = (row[buckets] for row, buckets in zip(self.is_frequent, _buckets_of(counts)))
        return {word: count for (word, count), passes in zip(counts.items(), first & second) if passes}


@dataclass
class WordCounts:
    """How often each word occurs; with more than `max_words` distinct ones, a sketch of that.

    What all parts of a corpus come to depends on its words alone, neither on the parts nor on their order: where
    one part has too many words to be counted, the whole has too.
    """

    max_words: float = math.inf
    words: Counter[str] = field(default_factory=Counter)  # empty when there is a sketch
    sketch: Sketch | None = None

    def add(self, counts: Mapping[str, int]) -> None:
        """Adds words that were counted."""
        if self.sketch:
            self.sketch.add(counts)
            return
        self.words.update(counts)
        if len(self.words) > self.max_words:
            self._start_sketch()

    def merge(self, other: "WordCounts") -> None:
        """Adds another part of the corpus."""
        if other.sketch:
            self._start_sketch().sums += other.sketch.sums
        else:
            self.add(other.words)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays of numbers; no word has a line end in it."""
        text = "\n".join(self.words).encode("utf-8", "surrogatepass")
        arrays: dict[str, NDArray[Any]] = {
            "max_words": np.array(self.max_words, np.float64),
            "words": np.frombuffer(text, np.uint8),
            "counts": np.array(list(self.words.values()), np.int64),
        }
        return {**arrays, "sketch": self.sketch.sums} if self.sketch else arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "WordCounts":
        """The counts that `to_arrays` stored."""
        text = arrays["words"].tobytes().decode("utf-8", "surrogatepass")
        words = Counter(dict(zip(text.split("\n"), arrays["counts"].tolist())))
        sketch = None
        if "sketch" in arrays:
            sketch = Sketch()
            sketch.sums = arrays["sketch"]
        return cls(float(arrays["max_words"]), words, sketch)

    def _start_sketch(self) -> Sketch:
        if self.sketch is None:
            self.sketch = Sketch()
            self.sketch.add(self.words)
            self.words.clear()
        return self.sketch


def _buckets_of(words: Iterable[str]) -> NDArray[np.uint32]:
    """The bucket of each word in each row, [rows, words]."""
    digests = [hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest() for word in words]
    return np.frombuffer(b"".join(digests), np.uint32).reshape(-1, 2).T >> np.uint32(32 - BUCKET_BITS)
