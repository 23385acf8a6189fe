"""Training a vocabulary: the same tokens for the same words, and tokens that cover the text."""

import random
from collections import Counter

import pytest

from tokenizer.errors import InputError
from tokenizer.train import WordCounter, train_vocab
from tokenizer.vocab import SPECIAL_TOKENS
from tokenizer.wordpiece import FullTokenizer

TEXT = "the lower the lowest slow slower slowest newer newest wide wider widest low new " * 20


def test_words_are_those_of_the_basic_tokenizer():
    assert WordCounter().count(["Hello, hello WORLD!", "naïve\tworld"]) == Counter(
        {"hello": 2, ",": 1, "world": 2, "!": 1, "naive": 1}
    )
    assert WordCounter(cased=True).count(["Hello hello"]) == Counter({"Hello": 1, "hello": 1})


def test_special_tokens_come_first_and_frequent_words_are_whole():
    vocab = train_vocab(WordCounter().count([TEXT]), vocab_size=70)
    assert vocab.tokens[:5] == list(SPECIAL_TOKENS)
    assert FullTokenizer(vocab).tokenize("the slowest") == ["the", "slowest"]


def test_continuations_carry_hashes_and_cover_unseen_words():
    vocab = train_vocab(WordCounter().count([TEXT]), vocab_size=70)
    pieces = FullTokenizer(vocab).tokenize("towed")
    assert "[UNK]" not in pieces
    assert all(piece.startswith("##") for piece in pieces[1:])
    assert "".join(piece.removeprefix("##") for piece in pieces) == "towed"


def test_order_of_the_counts_changes_nothing():
    words = random.Random(0).sample(["".join(random.Random(i).choices("abcdefgh", k=6)) for i in range(3000)], 3000)
    counts = {word: 2 + index % 7 for index, word in enumerate(sorted(words))}
    shuffled = {word: counts[word] for word in words}
    assert train_vocab(counts, 500).tokens == train_vocab(shuffled, 500).tokens


def test_private_use_characters_of_the_text_are_not_taken_for_ours():
    vocab = train_vocab({"ab": 9, chr(0xF0000) + "b": 9, "b" + chr(0xF0001): 9}, 20)
    assert all(ord(char) < 0xF0000 for token in vocab.tokens for char in token)


def test_rare_characters_are_left_out_beyond_the_limit():
    vocab = train_vocab({"aaa": 10, "bbb": 9, "ccc": 8}, 20, limit_alphabet=2)
    assert "b" in vocab.ids
    assert "c" not in vocab.ids


def test_too_small_a_size_and_no_words_are_refused():
    with pytest.raises(InputError, match="vocab_size is 6; expected 9 or more"):
        train_vocab({"ab": 2, "ba": 2}, 6)
    with pytest.raises(InputError, match="no words"):
        train_vocab({}, 100)
