"""Vocabulary files are read as they are meant, or refused in one sentence."""

import pytest

from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer


def write(tmp_path, text: str | bytes):
    path = tmp_path / "v.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_ids_are_line_numbers(tmp_path):
    vocab = Vocab.load(write(tmp_path, "\n".join([*SPECIAL_TOKENS, "a", "##b"]) + "\n"))
    assert vocab.ids["##b"] == 6
    assert vocab.tokens[6] == "##b"
    assert len(vocab) == 7


def test_line_ends_and_byte_order_mark_change_nothing(tmp_path):
    plain = Vocab([*SPECIAL_TOKENS, "a"])
    for text in (
        "\r\n".join([*SPECIAL_TOKENS, "a"]),
        "\ufeff" + "\n".join([*SPECIAL_TOKENS, "a "]),
        "\r".join([*SPECIAL_TOKENS, "a"]),
    ):
        loaded = Vocab.load(write(tmp_path, text))
        assert loaded.tokens == plain.tokens
        assert loaded.sha256 == plain.sha256


def test_saved_text_loads_as_the_same_vocabulary(tmp_path, bert_vocab):
    assert Vocab.load(write(tmp_path, bert_vocab.to_text())).sha256 == bert_vocab.sha256


BLANKS = ["\u2028", "##\u2028", "\u3000", "\x85", "\x1c", "\xa0", "\r", "\u2029", "\u2028"]


def test_tokens_that_are_blanks_leave_the_ids_of_the_others_as_googles_code_has_them(tmp_path):
    tokens = [*SPECIAL_TOKENS, "a", *BLANKS, " ##b\u2028", "c"]
    googles = {token.strip(): id for id, token in enumerate(tokens)}  # load_vocab of google-research/bert
    path = write(tmp_path, "\n".join(tokens) + "\n")
    vocab = Vocab.load(path)
    assert {token: vocab.ids[token] for token in googles if token} == {
        token: id for token, id in googles.items() if token
    }
    assert len(vocab) == len(tokens)
    assert not any(vocab.tokens[id].strip() == "" for id in vocab.ordinary_ids)
    again = Vocab.load(write(tmp_path, vocab.to_text()))
    assert (again.tokens, again.sha256) == (vocab.tokens, vocab.sha256)
    text = "a\u2028b\u3000ab \r c \u2028"
    assert FullTokenizer(vocab).tokenize(text) == ["a", "[UNK]", "a", "##b", "c"]
    assert FastTokenizer(vocab).encode([text])[0].tolist() == FullTokenizer(vocab).encode(text)


@pytest.mark.parametrize("missing", SPECIAL_TOKENS)
def test_a_vocabulary_without_a_special_token_is_refused(tmp_path, missing):
    tokens = [token for token in SPECIAL_TOKENS if token != missing]
    with pytest.raises(InputError, match=rf"v\.txt has no \[{missing[1:-1]}\]; train .* 'maskmill vocab'"):
        Vocab.load(write(tmp_path, "\n".join(tokens)))


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        ([*SPECIAL_TOKENS, "a", "b", "a"], "line 8: 'a' stands in line 6 already"),
        ([*SPECIAL_TOKENS, "a", "", "b"], "line 7: blank"),
    ],
)
def test_doubled_and_blank_lines_are_refused_by_number(tmp_path, tokens, sentence):
    with pytest.raises(InputError, match=sentence):
        Vocab.load(write(tmp_path, "\n".join(tokens)))


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.txt cannot be read"):
        Vocab.load(tmp_path / "nowhere.txt")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        Vocab.load(write(tmp_path, b"\x80\x81\xff"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"model": {"vocab": {"[PAD]": 0}}}', "is JSON; give the vocab.txt that belongs to it"),
        ("<unk>\t0\n<s>\t0\n▁the\t-3.2\n", r"line 1: '<unk>\\t0' has a tab, as in a SentencePiece vocabulary"),
        (b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02\n\x0b\n\x04\xe2\x96\x81a\x15\xff", "is a SentencePiece model"),
    ],
)
def test_a_vocabulary_of_another_kind_is_refused_by_its_name(tmp_path, text, sentence):
    with pytest.raises(InputError, match=sentence):
        Vocab.load(write(tmp_path, text))


def test_a_vocabulary_of_special_tokens_only_is_refused(tmp_path):
    with pytest.raises(InputError, match="has special tokens only"):
        Vocab.load(write(tmp_path, "\n".join(SPECIAL_TOKENS)))


def test_ordinary_ids_leave_out_special_and_unused_tokens():
    vocab = Vocab([*SPECIAL_TOKENS, "[unused3]", "[", "]", "a", "##]"])
    assert [vocab.tokens[id] for id in vocab.ordinary_ids] == ["[", "]", "a", "##]"]
