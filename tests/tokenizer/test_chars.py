"""The character classes that ship with us are those of Unicode 14."""

import unicodedata
from pathlib import Path

import pytest

from maskmill.tokenizer import basic, chars


@pytest.mark.skipif(unicodedata.unidata_version != "14.0.0", reason="only Python 3.11 can write the file")
def test_the_file_of_classes_is_what_python_3_11_writes():
    assert chars.write_classes() == (Path(chars.__file__).parent / "unicode_14.txt").read_text("ascii")


def test_what_unicode_14_does_not_know_is_left_alone():
    for capital_letter_since_unicode_16 in "\u1c89\U00010d50":
        assert chars.is_unassigned(capital_letter_since_unicode_16)
    assert basic.split_words("A\u1c89B\U00010d50É") == ["a\u1c89b\U00010d50e"]
