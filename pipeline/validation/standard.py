"""What the examples of a dataset are held to: its lengths, its masking, and what its vocabulary says of each token."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.masking import count_predictions
from maskmill.tokenizer.basic import split_words
from maskmill.tokenizer.chars import is_cjk, is_punctuation
from maskmill.tokenizer.vocab import CLS, MASK, SEP, UNK, Vocab

# Bits of a token.
TEXT = 1  # stands for text: [UNK], or a piece that words of text can have
ORDINARY = 2  # may stand as a random word: no special token, no [unused7]
CONTINUATION = 4  # ##...: never the first piece of a word
CONTINUABLE = 8  # may have a ## piece behind it: no [UNK], punctuation or ideograph, which are words of their own


@dataclass(frozen=True)
class Standard:
    """What the examples of a dataset are held to. Without the vocabulary, the rules that need it are left out."""

    config: InstanceConfig
    vocab_size: int
    vocab: Vocab | None

    @property
    def has_pairs(self) -> bool:
        """Whether an example has a segment B."""
        return self.config.objective != "mlm"

    @property
    def num_specials(self) -> int:
        """The special tokens of an example."""
        return self.config.max_seq_length - self.config.max_num_tokens

    @property
    def shortest(self) -> int:
        """Tokens of the shortest example: one in each segment, and the special ones."""
        return self.num_specials + (2 if self.has_pairs else 1)

    @cached_property
    def cls_id(self) -> int:
        """The id of `[CLS]`."""
        return self._vocab.ids[CLS]

    @cached_property
    def sep_id(self) -> int:
        """The id of `[SEP]`."""
        return self._vocab.ids[SEP]

    @cached_property
    def mask_id(self) -> int:
        """The id of `[MASK]`."""
        return self._vocab.ids[MASK]

    @cached_property
    def kinds(self) -> NDArray[np.uint8]:
        """The bits of each token: [vocab_size]."""
        return find_kinds(self._vocab, self.config.cased)

    @cached_property
    def is_continuation(self) -> NDArray[np.bool_]:
        """True for a ## piece: [vocab_size]."""
        is_continuation: NDArray[np.bool_] = (self.kinds & CONTINUATION) != 0
        return is_continuation

    @property
    def _vocab(self) -> Vocab:
        assert self.vocab, "rules that need the vocabulary are left out without it"
        return self.vocab

    def count_wanted(self, lengths: NDArray[np.integer]) -> NDArray[np.int64]:
        """How many tokens the masking rule asks to predict in examples of so many tokens: [n]."""
        wanted: NDArray[np.int64] = np.minimum(count_predictions(lengths, self.config), lengths - self.num_specials)
        return wanted


def find_kinds(vocab: Vocab, cased: bool) -> NDArray[np.uint8]:
    """The bits of each token: [len(vocab)].

    A piece that the basic tokenizer would change does not come from text: `Paris` with a tokenizer that makes lower
    case, or `[unused7]`. It tells a vocabulary that is not the one of the text.
    """
    kinds = np.zeros(len(vocab), np.uint8)
    kinds[vocab.ordinary_ids] = ORDINARY
    kinds[vocab.is_continuation] |= CONTINUATION
    for id in range(len(vocab)):
        text = vocab.text_of(id)
        # Most are ASCII, of which no letter or digit is changed but a capital: that is said 20 times as fast.
        is_plain = text.isascii() and text.isalnum() and (cased or text == text.lower())
        if is_plain or split_words(text, cased) == [text]:
            is_word = len(text) == 1 and (is_punctuation(text) or is_cjk(text))
            kinds[id] |= TEXT if is_word else TEXT | CONTINUABLE
    kinds[vocab.ids[UNK]] = TEXT
    return kinds
