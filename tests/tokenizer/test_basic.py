"""The basic tokenizer equals google-research/bert on every code point, whatever Python it runs on."""

import gzip
import json

import pytest

from maskmill.tokenizer.basic import split_words


@pytest.mark.parametrize(("name", "cased"), [("uncased", False), ("cased", True)])
def test_every_code_point_is_treated_as_google_does(golden, name, cased):
    with gzip.open(golden / f"code_points_{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        runs = [json.loads(line) for line in lines]
    expected_of = {
        "dropped": lambda char: ["ab"],
        "space": lambda char: ["a", "b"],
        "kept": lambda char: [f"a{char}b"],
        "isolated": lambda char: ["a", char, "b"],
    }
    checked = 0
    for first, last, result in runs:
        for code_point in range(first, last + 1):
            char = chr(code_point)
            expected = expected_of[result](char) if isinstance(result, str) else result
            assert split_words(f"a{char}b", cased) == expected, hex(code_point)
            checked += 1
    assert checked == 0x110000 - 2048  # all but surrogates
