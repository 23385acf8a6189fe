"""What a vocabulary makes of the words of a corpus."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maskmill.tokenizer.ragged import Ragged
from maskmill.tokenizer.train import count_characters
from maskmill.tokenizer.trie import PieceTrie
from maskmill.tokenizer.vocab import UNK, Vocab


@dataclass(frozen=True)
class Coverage:
    """How well a vocabulary fits a corpus; all counts are of occurrences."""

    words: int
    pieces: int
    characters: int
    alphabet: int  # characters that the vocabulary has, at the beginning of a word or inside
    lost_characters: Counter[str]  # that it has not
    unknown_words: Counter[str]  # that become [UNK]


def measure_coverage(vocab: Vocab, counts: Mapping[str, int]) -> Coverage:
    """Splits every word that was counted into pieces, and says what became of them."""
    pieces = PieceTrie(vocab).split(Ragged.from_strings(list(counts)))
    occurrences = np.fromiter(counts.values(), np.int64, len(counts))
    is_unknown = pieces.values[pieces.offsets[:-1]] == vocab.ids[UNK]
    characters = count_characters(counts)
    known = {char for id in vocab.ordinary_ids for char in vocab.text_of(id)}
    return Coverage(
        words=int(occurrences.sum()),
        pieces=int(occurrences @ pieces.lengths),
        characters=characters.total(),
        alphabet=len(known),
        lost_characters=Counter({char: count for char, count in characters.items() if char not in known}),
        unknown_words=Counter({word: counts[word] for word, unknown in zip(counts, is_unknown) if unknown}),
    )
