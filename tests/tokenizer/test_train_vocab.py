"""Training a vocabulary: the same tokens for the same words, and tokens that cover the text."""

import random
from collections import Counter

import pytest

from maskmill.tokenizer import train
from maskmill.tokenizer.config import VocabConfig
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.train import train_vocab
from maskmill.tokenizer.vocab import SPECIAL_TOKENS
from maskmill.tokenizer.wordpiece import FullTokenizer

COUNTS = Counter(("the lower the lowest slow slower slowest newer newest wide wider widest low new " * 20).split())


def test_special_tokens_come_first_and_frequent_words_are_whole():
    vocab = train_vocab(COUNTS, VocabConfig(70))
    assert vocab.tokens[:5] == list(SPECIAL_TOKENS)
    assert FullTokenizer(vocab).tokenize("the slowest") == ["the", "slowest"]


def test_continuations_carry_hashes_and_cover_unseen_words():
    vocab = train_vocab(COUNTS, VocabConfig(70))
    pieces = FullTokenizer(vocab).tokenize("towed")
    assert "[UNK]" not in pieces
    assert all(piece.startswith("##") for piece in pieces[1:])
    assert "".join(piece.removeprefix("##") for piece in pieces) == "towed"


def test_order_of_the_counts_changes_nothing():
    words = random.Random(0).sample(["".join(random.Random(i).choices("abcdefgh", k=6)) for i in range(3000)], 3000)
    counts = {word: 2 + index % 7 for index, word in enumerate(sorted(words))}
    shuffled = {word: counts[word] for word in words}
    assert train_vocab(counts, VocabConfig(500)).tokens == train_vocab(shuffled, VocabConfig(500)).tokens


def test_private_use_characters_of_the_text_are_not_taken_for_ours():
    vocab = train_vocab({"ab": 9, chr(0xF0000) + "b": 9, "b" + chr(0xF0001): 9}, VocabConfig(20))
    assert all(ord(char) < 0xF0000 for token in vocab.tokens for char in token)


def test_rare_characters_are_left_out_beyond_the_limit():
    vocab = train_vocab({"aaa": 10, "bbb": 9, "ccc": 8}, VocabConfig(20, limit_alphabet=2))
    assert "b" in vocab.ids
    assert "c" not in vocab.ids


def test_room_that_merges_leave_goes_to_characters_beyond_the_alphabet(monkeypatch):
    monkeypatch.setattr(VocabConfig, "max_characters", 2)
    counts = {"中": 9, "國": 8, "文": 7, "字": 6, "xy": 5}
    assert train_vocab(counts, VocabConfig(9)).tokens[5:] == ["中", "國", "文", "字"]
    assert train_vocab(counts, VocabConfig(30)).tokens[5:] == ["中", "國", "文", "字", "##y", "x"]
    assert train_vocab(counts, VocabConfig(30, limit_alphabet=2)).tokens[5:] == ["中", "國"]


def test_reserved_and_more_special_tokens_stand_before_the_alphabet():
    vocab = train_vocab(COUNTS, VocabConfig(70, reserve=2, special_tokens=("[DOC]",)))
    assert vocab.tokens[:8] == [*SPECIAL_TOKENS, "[DOC]", "[unused0]", "[unused1]"]
    assert vocab.ordinary_ids[0] == 8
    assert vocab.tokens[8:] == train_vocab(COUNTS, VocabConfig(67)).tokens[5:]


@pytest.mark.parametrize(
    ("special_tokens", "sentence"),
    [
        (("DOC",), "'DOC'; expected a name in brackets"),
        (("[A B]",), r"'\[A B\]'; expected a name in brackets"),
        (("[MASK]",), r"has \[MASK\], which the vocabulary has already"),
        (("[unused0]",), r"has \[unused0\], which the vocabulary has already"),
        (("[A]", "[A]"), r"has \[A\], which"),
    ],
)
def test_special_tokens_that_cannot_be_are_refused(special_tokens, sentence):
    with pytest.raises(InputError, match=sentence):
        VocabConfig(reserve=1, special_tokens=special_tokens)


def test_a_corpus_too_large_for_the_trainer_is_given_to_it_in_proportion(monkeypatch):
    exact = train_vocab(COUNTS, VocabConfig(70))
    monkeypatch.setattr(train, "MAX_OCCURRENCES", COUNTS.total())
    in_proportion = train_vocab({word: 1000 * count for word, count in COUNTS.items()}, VocabConfig(70))
    assert in_proportion.tokens == exact.tokens


def test_threads_change_nothing(monkeypatch):
    vocabs = []
    for parallel in ("true", "false"):
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", parallel)
        vocabs.append(train_vocab(COUNTS, VocabConfig(70)).tokens)
    assert vocabs[0] == vocabs[1]


def test_too_small_a_size_and_no_words_are_refused():
    with pytest.raises(InputError, match="vocab_size is 6; expected 9 or more"):
        train_vocab({"ab": 2, "ba": 2}, VocabConfig(6))
    with pytest.raises(InputError, match="no words"):
        train_vocab({}, VocabConfig(100))
