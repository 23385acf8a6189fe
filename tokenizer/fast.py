"""The ids of the readable tokenizer, many lines at a time."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tokenizer.vocab import Vocab
from tokenizer.wordpiece import FullTokenizer

MEMO_WORDS = 1 << 19  # distinct words remembered, about 100 MB at the most
MEMO_CHARACTERS = 64  # longer stretches hardly come again: a sentence without spaces, a line of base64


class FastTokenizer:
    """Lines of text to one flat array of ids, equal to those of `FullTokenizer`.

    No rule of the tokenizer looks across a space, so a word between two spaces has the same ids wherever it
    stands. Text repeats its words: each distinct one goes through the readable tokenizer once, and is then looked up.
    """

    def __init__(self, vocab: Vocab, cased: bool = False):
        self.dtype = id_dtype(len(vocab))
        self._memo = _Memo(FullTokenizer(vocab, cased), self.dtype)

    def encode(self, lines: Iterable[str]) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
        """Lines to `(ids, offsets)`: line `i` has `ids[offsets[i]:offsets[i + 1]]`.

        Returns:
            ids: uint16, or uint32 for a vocabulary of more than 65,536 tokens, [tokens of all lines].
            offsets: int64 [lines + 1].
        """
        memo = self._memo
        encoded = [b"".join([memo[word] for word in line.split(" ")]) for line in lines]
        ids = np.frombuffer(b"".join(encoded), self.dtype)
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(line) for line in encoded], out=offsets[1:])
        offsets //= self.dtype.itemsize
        if len(memo) > MEMO_WORDS:
            memo.clear()
        return ids, offsets


def id_dtype(vocab_size: int) -> np.dtype[np.unsignedinteger]:
    """The smallest dtype that holds every id of a vocabulary."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


class _Memo(dict[str, bytes]):
    """Word -> the bytes of its ids, filled from the readable tokenizer."""

    def __init__(self, tokenizer: FullTokenizer, dtype: np.dtype[np.unsignedinteger]):
        self.tokenizer = tokenizer
        self.dtype = dtype

    def __missing__(self, word: str) -> bytes:
        ids = np.array(self.tokenizer.encode(word), self.dtype).tobytes()
        if len(word) <= MEMO_CHARACTERS:
            self[word] = ids
        return ids
