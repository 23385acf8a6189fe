"""Words walked through the trie get the pieces of the readable WordPiece."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from maskmill.tokenizer.ragged import Ragged
from maskmill.tokenizer.trie import PieceTrie
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab
from maskmill.tokenizer.wordpiece import split_pieces

tokens = st.from_regex(r"(##)?[abé😀]{1,5}", fullmatch=True)
words = st.text("abcé😀", min_size=1, max_size=12)


def split_all(vocab: Vocab, words: list[str]) -> list[list[str]]:
    pieces = PieceTrie(vocab).split(Ragged.from_strings(words))
    return [[vocab.tokens[id] for id in pieces.values[start:end]] for start, end in pairwise(pieces.offsets)]


@given(tokens=st.lists(tokens, min_size=1, unique=True), words=st.lists(words))
def test_any_vocabulary_splits_any_word_as_the_readable_rule_does(tokens, words):
    vocab = Vocab([*SPECIAL_TOKENS, *tokens])
    assert split_all(vocab, words) == [split_pieces(word, vocab) for word in words]


def test_a_word_is_unknown_when_its_end_has_no_piece_or_it_is_longer_than_200():
    vocab = Vocab([*SPECIAL_TOKENS, "a", "##a", "aab"])
    assert split_all(vocab, ["aaab", "a" * 200, "a" * 201]) == [["[UNK]"], ["a"] + ["##a"] * 199, ["[UNK]"]]
