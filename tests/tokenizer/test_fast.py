"""The fast tokenizer gives the ids of the readable one, for any text however it is cut into lines."""

import gzip
import json
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from places import CORPUS

from maskmill.tokenizer import fast
from maskmill.tokenizer.basic import split_words
from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer

# What a rule of the tokenizer, or one of our short cuts, treats in a way of its own.
TRICKY = [
    *("A", "É", "i̇", "İ", "ẞ", "ﬁ", "中", "\uf900", "\ufa6c", "각", "ᄀ", "≠", "\u037e", "`", "##", "[MASK]", "[UNK]"),
    *("Σ", "ΑΣ", "ς", "'", "\u0301", "\u0345", "\u302e", "\u1b44", "\U0001d15e", "\U0001d165", "\u05b0"),
    *(" ", "  ", "\n", "\t", "\x0b", "\x1c", "\x85", "\xa0", "\u2028", "\u3000", "\0", "\ufffd", "\xad", "\u200d"),
    *("\ud800", "\udc00", "\ud835\udc00", "\U0001f600", "\U000f0000", "\u1c89", "x" * 201, "é" * 200),
]
NONE = ("Cn", "Co")  # unassigned, private use: a million code points that are all kept as they are
any_character = st.characters(exclude_categories=())  # surrogates too
lines = st.lists(st.lists(st.sampled_from(TRICKY) | any_character).map("".join) | st.text(any_character))


@pytest.fixture(scope="module", params=[False, True], ids=["uncased", "cased"])
def tokenizers(request, bert_vocab) -> tuple[FastTokenizer, FullTokenizer]:
    return FastTokenizer(bert_vocab, request.param), FullTokenizer(bert_vocab, request.param)


def encode_lines(tokenizer: FastTokenizer, lines: list[str]) -> list[list[int]]:
    ids, offsets = tokenizer.encode(lines)
    assert len(offsets) == len(lines) + 1
    return [ids[start:end].tolist() for start, end in pairwise(offsets)]


def test_ids_equal_googles(golden_lines, tokenizers):
    fast_tokenizer, readable = tokenizers
    cases = [case for case in golden_lines if case["do_lower_case"] != readable.cased]
    assert encode_lines(fast_tokenizer, [case["text"] for case in cases]) == [case["ids"] for case in cases]


@given(lines=lines)
@example(lines=[])
@example(lines=["", ""])
@example(lines=TRICKY)
@example(lines=["".join(TRICKY)])
@example(lines=["ΟΔΟΣ ΣΑΣ'Α Σ\0Σ Α\u0301Σ, a\ud835\udc00b"])
def test_ids_equal_the_readable_ones(tokenizers, lines):
    fast_tokenizer, readable = tokenizers
    assert encode_lines(fast_tokenizer, lines) == [readable.encode(line) for line in lines]


def test_every_character_beside_a_letter_gives_the_readable_words(tokenizers):
    fast_tokenizer, readable = tokenizers
    characters = [
        chr(code_point) for code_point in range(0x110000) if unicodedata.category(chr(code_point)) not in NONE
    ]
    lines = ["a".join(characters[start : start + 64]) + "b" for start in range(0, len(characters), 64)]
    words, _ = fast_tokenizer._words.split(fast.split_at_spaces(lines)[0])
    assert words.to_strings() == [word for line in lines for word in split_words(line, readable.cased)]


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_change_nothing(golden_lines, bert_vocab, monkeypatch, block):
    lines = [case["text"] for case in golden_lines[::40]]
    whole = encode_lines(FastTokenizer(bert_vocab), lines)
    monkeypatch.setattr(fast, "BLOCK_CHARACTERS", block)
    assert encode_lines(FastTokenizer(bert_vocab), lines) == whole


def test_ids_need_four_bytes_beyond_65536_tokens():
    vocab = Vocab([*SPECIAL_TOKENS, *(f"w{number}" for number in range(1 << 16))])
    ids, _ = FastTokenizer(vocab).encode(["w65535"])
    assert ids.dtype == np.uint32
    assert ids.tolist() == [len(vocab) - 1]
    assert FastTokenizer(Vocab(vocab.tokens[: 1 << 16])).encode(["w1"])[0].dtype == np.uint16


@pytest.mark.skipif(not CORPUS.exists(), reason=f"no corpora for development in {CORPUS}")
@pytest.mark.parametrize("name", ["books.jsonl.gz", "zh_poems.jsonl.gz"])
def test_ids_of_real_text_equal_the_readable_ones(tokenizers, name):
    fast_tokenizer, readable = tokenizers
    with gzip.open(CORPUS / name, "rt", encoding="utf-8") as documents:
        lines = [json.loads(document)["text"] for document in documents][::25]  # benchmarks/bench_tokenizer.py: all
    assert encode_lines(fast_tokenizer, lines) == [readable.encode(line) for line in lines]
