"""The readable tokenizer equals google-research/bert, and the fast one equals the readable one."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenizer import fast
from tokenizer.basic import split_words
from tokenizer.fast import FastTokenizer
from tokenizer.wordpiece import FullTokenizer


@pytest.fixture(scope="module")
def golden_lines(golden):
    with gzip.open(golden / "tokenization.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("cased", [False, True])
def test_tokens_and_ids_equal_googles(golden_lines, bert_vocab, cased):
    tokenizer = FullTokenizer(bert_vocab, cased)
    lines = [line for line in golden_lines if line["do_lower_case"] != cased]
    assert len(lines) == 804
    for line in lines:
        assert tokenizer.tokenize(line["text"]) == line["tokens"]
        assert tokenizer.encode(line["text"]) == line["ids"]


@pytest.mark.parametrize("cased", [False, True])
def test_fast_ids_equal_googles(golden_lines, bert_vocab, cased):
    lines = [line for line in golden_lines if line["do_lower_case"] != cased]
    ids, offsets = FastTokenizer(bert_vocab, cased).encode(line["text"] for line in lines)
    for line, start, end in zip(lines, offsets, offsets[1:]):
        assert ids[start:end].tolist() == line["ids"]


@given(lines=st.lists(st.text()), cased=st.booleans())
@example(lines=["a\u0301 b\tc\x00d\u3000e", "[MASK] un##able", "ΣΑΣ ΑΣ.", "x" * 201, "\ud800 lone"], cased=False)
def test_fast_ids_equal_the_readable_ones(bert_vocab, lines, cased):
    ids, offsets = FastTokenizer(bert_vocab, cased).encode(lines)
    assert ids.dtype == np.uint16
    assert len(offsets) == len(lines) + 1
    for line, start, end in zip(lines, offsets, offsets[1:]):
        assert ids[start:end].tolist() == FullTokenizer(bert_vocab, cased).encode(line)


def test_a_full_memo_changes_nothing(bert_vocab, monkeypatch):
    monkeypatch.setattr(fast, "MEMO_WORDS", 2)
    tokenizer = FastTokenizer(bert_vocab)
    first, _ = tokenizer.encode(["one two three four"])
    second, _ = tokenizer.encode(["one two three four"])
    assert first.tolist() == second.tolist() == FullTokenizer(bert_vocab).encode("one two three four")


def test_a_long_stretch_is_tokenised_in_linear_time_and_not_remembered(bert_vocab):
    tokenizer = FastTokenizer(bert_vocab)
    ids, _ = tokenizer.encode(["word," * 100_000])
    assert ids.tolist() == [bert_vocab.ids["word"], bert_vocab.ids[","]] * 100_000
    assert not tokenizer._memo


def test_special_tokens_in_the_text_are_ordinary_text(bert_vocab):
    assert FullTokenizer(bert_vocab).tokenize("a [MASK]") == ["a", "[", "mask", "]"]


def test_a_word_of_more_than_200_characters_is_unknown(bert_vocab):
    tokenizer = FullTokenizer(bert_vocab)
    assert "[UNK]" not in tokenizer.tokenize("a" * 200)
    assert tokenizer.tokenize("a" * 201) == ["[UNK]"]


def test_final_sigma_is_lowered_by_its_place_in_the_word():
    assert split_words("ΟΔΟΣ Σ") == ["οδος", "σ"]
