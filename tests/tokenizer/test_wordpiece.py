"""The readable tokenizer equals google-research/bert."""

import pytest

from maskmill.tokenizer.basic import split_words
from maskmill.tokenizer.wordpiece import FullTokenizer


@pytest.mark.parametrize("cased", [False, True])
def test_tokens_and_ids_equal_googles(golden_lines, bert_vocab, cased):
    tokenizer = FullTokenizer(bert_vocab, cased)
    lines = [line for line in golden_lines if line["do_lower_case"] != cased]
    assert len(lines) == 804
    for line in lines:
        assert tokenizer.tokenize(line["text"]) == line["tokens"]
        assert tokenizer.encode(line["text"]) == line["ids"]


def test_special_tokens_in_the_text_are_ordinary_text(bert_vocab):
    assert FullTokenizer(bert_vocab).tokenize("a [MASK]") == ["a", "[", "mask", "]"]


def test_a_word_of_more_than_200_characters_is_unknown(bert_vocab):
    tokenizer = FullTokenizer(bert_vocab)
    assert "[UNK]" not in tokenizer.tokenize("a" * 200)
    assert tokenizer.tokenize("a" * 201) == ["[UNK]"]


def test_final_sigma_is_lowered_by_its_place_in_the_word():
    assert split_words("ΟΔΟΣ Σ") == ["οδος", "σ"]
