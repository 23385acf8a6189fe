"""WordPiece for many words at once: a trie of the vocabulary, which all words walk in step."""

import numpy as np
from numpy.typing import NDArray

from maskmill.tokenizer.ragged import Ragged
from maskmill.tokenizer.rules import MAX_WORD_LENGTH
from maskmill.tokenizer.vocab import UNK, Vocab

Integers = NDArray[np.int64]

NONE = -1  # no such state, no such piece
FIRST, CONTINUATION = 0, 1  # the two roots: of pieces that begin a word, and of those with ##


class PieceTrie:
    """The vocabulary as a trie: each state is a beginning of a piece, and a letter leads to the next state.

    A letter is a character's number in the alphabet of the vocabulary; 0 is every other character and a word's end.
    """

    def __init__(self, vocab: Vocab, max_word_length: int = MAX_WORD_LENGTH):
        self._max_word_length = max_word_length
        self._unknown = vocab.ids[UNK]
        pieces = Ragged.from_strings([vocab.text_of(id) for id in range(len(vocab))])
        alphabet = np.unique(pieces.values)
        self._letters = np.zeros(0x110000, np.int32)
        self._letters[alphabet] = np.arange(1, len(alphabet) + 1)
        self._alphabet_size = len(alphabet) + 1
        # A level deeper each time: the distinct pairs of state and letter are the states of the next level.
        states = np.where(vocab.is_continuation, CONTINUATION, FIRST)
        num_states = 2
        levels = []
        for depth in range(pieces.lengths.max()):
            longer = np.flatnonzero(pieces.lengths > depth)
            letters = self._letters[pieces.values[pieces.offsets[longer] + depth]]
            pairs, numbers = np.unique(self._pair(states[longer], letters), return_inverse=True)
            states[longer] = num_states + numbers
            num_states += len(pairs)
            levels.append(pairs)
        self._next_states = _HashTable(np.concatenate(levels), np.arange(2, num_states))
        self._ids = np.full(num_states + 1, NONE)  # of the piece that a state completes; the last is that of NONE
        self._ids[states] = np.arange(len(vocab))

    def _pair(self, states: Integers, letters: NDArray[np.int32]) -> Integers:
        return states * self._alphabet_size + letters

    def split(self, words: Ragged) -> Ragged:
        """Words, rows of code points, to the ids of their pieces: those of `split_pieces`."""
        letters, starts = self._spell(words)
        ends = starts + words.lengths
        is_unknown = words.lengths > self._max_word_length

        word = np.flatnonzero(~is_unknown)  # of each walker: its word,
        place = starts[word]  # where it reads,
        state = np.full(len(word), FIRST)  # what it has read of a piece,
        piece = np.full(len(word), NONE)  # the longest whole piece in that,
        piece_end = place.copy()  # and where that ended
        found: list[tuple[Integers, Integers]] = []  # words and a piece of each, from the left
        while len(word):
            state = self._next_states.get(self._pair(state, letters[place]))
            place += 1
            id = self._ids[state]
            whole = np.flatnonzero(id != NONE)
            piece[whole], piece_end[whole] = id[whole], place[whole]

            stuck = np.flatnonzero(state == NONE)
            if not len(stuck):
                continue
            found.append((word[stuck], piece[stuck]))
            is_lost = piece[stuck] == NONE
            is_unknown[word[stuck[is_lost]]] = True
            goes_on = np.ones(len(word), bool)
            goes_on[stuck] = ~is_lost & (piece_end[stuck] < ends[word[stuck]])
            place[stuck], state[stuck], piece[stuck] = piece_end[stuck], CONTINUATION, NONE
            word, place, state, piece, piece_end = (x[goes_on] for x in (word, place, state, piece, piece_end))
        return self._collect(found, is_unknown)

    def _spell(self, words: Ragged) -> tuple[NDArray[np.int32], Integers]:
        """The letters of the words, each word closed by a 0, and where each begins."""
        numbers = np.arange(len(words.lengths))
        letters = np.zeros(len(words.values) + len(numbers), np.int32)
        letters[np.arange(len(words.values)) + np.repeat(numbers, words.lengths)] = self._letters[words.values]
        return letters, words.offsets[:-1] + numbers

    def _collect(self, found: list[tuple[Integers, Integers]], is_unknown: NDArray[np.bool]) -> Ragged:
        """The pieces found, word by word; one [UNK] for an unknown word, whatever was found of it."""
        words, ids = (np.concatenate(parts) for parts in zip(*found, (np.zeros(0, np.int64),) * 2))
        is_kept = ~is_unknown[words]
        unknown = np.flatnonzero(is_unknown)
        words = np.append(words[is_kept], unknown)
        ids = np.append(ids[is_kept], np.full(len(unknown), self._unknown))
        lengths = np.bincount(words, minlength=len(is_unknown))
        return Ragged.from_lengths(ids[np.argsort(words, kind="stable")], lengths)


class _HashTable:
    """Numbers to numbers, looked up many at a time: open addressing with linear probing."""

    def __init__(self, keys: Integers, values: Integers):
        bits = (4 * len(keys)).bit_length()
        self._shift = np.uint64(64 - bits)
        self._mask = (1 << bits) - 1
        self._keys = np.full(1 << bits, NONE)
        self._values = np.full(1 << bits, NONE)
        slots = self._slots(keys)
        while len(keys):
            is_free = self._keys[slots] == NONE
            self._keys[slots[is_free]] = keys[is_free]  # of several keys for one slot, one stays
            is_placed = self._keys[slots] == keys
            self._values[slots[is_placed]] = values[is_placed]
            keys, values, slots = keys[~is_placed], values[~is_placed], (slots[~is_placed] + 1) & self._mask

    def _slots(self, keys: Integers) -> Integers:
        return (keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> self._shift).astype(np.int64)

    def get(self, keys: Integers) -> Integers:
        """The values of the keys; NONE for a key that is not there."""
        slots = self._slots(keys)
        there = self._keys[slots]
        elsewhere = np.flatnonzero((there != keys) & (there != NONE))
        while len(elsewhere):
            slots[elsewhere] = (slots[elsewhere] + 1) & self._mask
            there = self._keys[slots[elsewhere]]
            elsewhere = elsewhere[(there != keys[elsewhere]) & (there != NONE)]
        return self._values[slots]
