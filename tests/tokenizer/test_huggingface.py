"""The exported tokenizer.json gives our ids, but in the classes of difference that docs/tokenizer.md lists."""

import unicodedata

import pytest
from tokenizers import Tokenizer

from maskmill.tokenizer.basic import split_words
from maskmill.tokenizer.chars import is_mark, is_punctuation, is_unassigned
from maskmill.tokenizer.huggingface import to_tokenizer_json

PRIVATE_USE = {*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE)}
CJK_EXTENSION_E = set(range(0x2B820, 0x2B920))
SINGLE = {0x166D, 0x1734, 0x11938}
CAPITAL_SIGMA = 0x3A3
ASSIGNED = {*range(0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE0200)}  # and gaps; between is nothing


def is_listed(char: str) -> bool:
    """Is the character of a class in which docs/tokenizer.md says that ids may differ?"""
    code_point = ord(char)
    if code_point in PRIVATE_USE | CJK_EXTENSION_E | SINGLE or code_point == CAPITAL_SIGMA:
        return True
    is_newer = code_point > 0x600 and (is_mark(char) or is_punctuation(char) or unicodedata.category(char) == "Cf")
    return is_newer or is_unassigned(char)


@pytest.mark.parametrize("cased", [False, True])
def test_exported_tokenizer_gives_our_ids(golden_lines, bert_vocab, cased):
    exported = Tokenizer.from_str(to_tokenizer_json(bert_vocab, cased))
    cases = [case for case in golden_lines if case["do_lower_case"] != cased]
    different = [case for case in cases if exported.encode(case["text"], add_special_tokens=False).ids != case["ids"]]
    assert len(different) == (1 if cased else 2)
    assert all(any(map(is_listed, case["text"])) for case in different)


@pytest.mark.parametrize("cased", [False, True])
def test_every_character_out_of_the_listed_classes_is_treated_alike(bert_vocab, cased):
    exported = Tokenizer.from_str(to_tokenizer_json(bert_vocab, cased))
    differing = 0
    for code_point in ASSIGNED - PRIVATE_USE:
        char = chr(code_point)
        if unicodedata.category(char) == "Lo" and code_point % 16:
            continue  # a hundred thousand letters without case
        text = f"a{char}b"
        words = [word for word, _ in exported.pre_tokenizer.pre_tokenize_str(exported.normalizer.normalize_str(text))]
        if words != split_words(text, cased):
            differing += 1
            assert is_listed(char), hex(code_point)
    assert differing > 100


def test_pairs_get_special_tokens_and_segments(bert_vocab):
    exported = Tokenizer.from_str(to_tokenizer_json(bert_vocab, cased=False))
    pair = exported.encode("One sentence.", "Another one")
    assert pair.tokens == ["[CLS]", "one", "sentence", ".", "[SEP]", "another", "one", "[SEP]"]
    assert pair.type_ids == [0, 0, 0, 0, 0, 1, 1, 1]
