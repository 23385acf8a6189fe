"""The exported tokenizer.json gives our ids, but where the library's Unicode tables differ."""

import gzip
import json

import pytest
from tokenizers import Tokenizer

from tokenizer.huggingface import to_tokenizer_json


@pytest.mark.parametrize("cased", [False, True])
def test_exported_tokenizer_gives_our_ids(golden, bert_vocab, cased):
    exported = Tokenizer.from_str(to_tokenizer_json(bert_vocab, cased))
    with gzip.open(golden / "tokenization.jsonl.gz", "rt", encoding="utf-8") as lines:
        cases = [case for case in map(json.loads, lines) if case["do_lower_case"] != cased]
    different = [case for case in cases if exported.encode(case["text"], add_special_tokens=False).ids != case["ids"]]
    assert len(different) / len(cases) < 0.05


def test_pairs_get_special_tokens_and_segments(bert_vocab):
    exported = Tokenizer.from_str(to_tokenizer_json(bert_vocab, cased=False))
    pair = exported.encode("One sentence.", "Another one")
    assert pair.tokens == ["[CLS]", "one", "sentence", ".", "[SEP]", "another", "one", "[SEP]"]
    assert pair.type_ids == [0, 0, 0, 0, 0, 1, 1, 1]
