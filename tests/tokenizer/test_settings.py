"""The files of a Hugging Face tokenizer are followed, id for id, or refused in one sentence."""

import json
from itertools import product

import pytest
from tokenizers import Tokenizer

from maskmill.tokenizer.casing import cased_by_name, guess_cased
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.rules import AddedToken, TextRules
from maskmill.tokenizer.settings import read_settings
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer

WORDS = [
    *("the", "cat", "The", "Cat", "uber", "über", "Über", "naive", "naïve", "i̇", "i", "ent", "##ent", "s", "##s"),
    *("北", "京", "北京", "##京", "a", "##a", "x", ".", "[", "]"),
]
TOKENS = [*SPECIAL_TOKENS, *WORDS]
NORMALIZER = {
    "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
    "lowercase": True,
}  # fmt: skip
NFC = [{"type": "NFC"}]
TEXTS = [
    "The Cat\tüber Über, 北京x naïve. U\u0308ber İ \x00the\u200b[MASK]",
    f"{'a' * 100} {'a' * 101} {'A' * 200} {'a' * 201}",
    "the Remdesivir xremdesivirs [ENT]the[ENT] the[ent] REMDESIVIR. New York x new  york newyork",
    "the_word a wordy word, Word\u0301 the word",
    "",
    "Remdesivir",
]


def added(id, content, **flags):
    defaults = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": id, "content": content, **defaults, **flags}


def tokenizer_json(normalizer=None, more=(), **model):
    return {
        "version": "1.0",
        "added_tokens": [*(added(id, token) for id, token in enumerate(SPECIAL_TOKENS)), *more],
        "normalizer": {**NORMALIZER, **(normalizer or {})},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {token: id for id, token in enumerate(TOKENS)}, **model,
        },
    }  # fmt: skip


def write(folder, config=None, tokenizer=None, **others):
    for name, content in {"tokenizer_config": config, "tokenizer": tokenizer, **others}.items():
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def rules_in(folder, cased=False):
    settings = read_settings(folder)
    return settings.rules_for(cased if settings.cased is None else settings.cased, TOKENS, str(folder))


def assert_ids_equal_the_librarys(folder, rules):
    oracle = Tokenizer.from_file(str(folder / "tokenizer.json"))
    oracle.encode_special_tokens = False
    readable, fast = FullTokenizer(Vocab(TOKENS), rules), FastTokenizer(Vocab(TOKENS), rules)
    texts = [text.replace("[MASK]", "") for text in TEXTS]  # which we take for text, see docs/tokenizer.md
    ids, offsets = fast.encode(texts)
    for text, start, end in zip(texts, offsets, offsets[1:]):
        expected = oracle.encode(text, add_special_tokens=False).ids
        assert readable.encode(text) == expected, text
        assert ids[start:end].tolist() == expected, text
        assert len(readable.tokenize(text)) == len(expected)


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "handle_chinese_chars", "longest"),
    list(product((True, False), (None, True, False), (True, False), (100, 200, 7))),
)
def test_every_setting_of_the_normalizer_gives_the_librarys_ids(
    tmp_path, lowercase, strip_accents, handle_chinese_chars, longest
):
    normalizer = {
        "lowercase": lowercase, "strip_accents": strip_accents, "handle_chinese_chars": handle_chinese_chars,
    }  # fmt: skip
    content = tokenizer_json(normalizer, max_input_chars_per_word=longest)
    folder = write(tmp_path, {"tokenizer_class": "TokenizersBackend"}, content)
    rules = rules_in(folder)
    assert (rules.cased, rules.max_input_chars_per_word) == (not lowercase, longest)
    assert_ids_equal_the_librarys(folder, rules)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize(
    "tokens",
    [
        [("remdesivir", {"normalized": True, "special": False})],
        [("Remdesivir", {"normalized": True, "special": False}), ("[ENT]", {})],
        [("word", {"single_word": True}), ("rem", {}), ("remdesivir", {})],
        [("new york", {"normalized": True}), ("Über", {"normalized": True, "single_word": True})],
        [("the", {"lstrip": True, "rstrip": True}), ("北京", {"normalized": True})],
    ],
)
def test_added_tokens_give_the_librarys_ids(tmp_path, lowercase, tokens):
    base = {token: id for id, token in enumerate(TOKENS)}
    ids = iter(range(len(TOKENS), len(TOKENS) + len(tokens)))
    more = [added(base[token] if token in base else next(ids), token, **flags) for token, flags in tokens]
    folder = write(tmp_path, {"tokenizer_class": "TokenizersBackend"}, tokenizer_json({"lowercase": lowercase}, more))
    assert_ids_equal_the_librarys(folder, rules_in(folder))


def test_an_added_token_is_no_piece_of_a_word(tmp_path):
    folder = write(tmp_path, None, tokenizer_json(more=[added(len(TOKENS), "remdesivir", single_word=True)]))
    tokenizer = FullTokenizer(Vocab(TOKENS), rules_in(folder))
    assert tokenizer.tokenize("remdesivir remdesivirs") == ["remdesivir", "[UNK]"]


def test_added_tokens_are_found_in_every_file_that_names_them(tmp_path):
    expected = (AddedToken("new", len(TOKENS)), AddedToken("[E]", len(TOKENS) + 1))
    flags = {"normalized": False, "special": True}
    for number, files in enumerate(
        (
            {"config": {"added_tokens_decoder": {len(TOKENS): added(0, "new"), len(TOKENS) + 1: added(0, "[E]")}}},
            {"config": {"additional_special_tokens": ["new", {"content": "[E]", **flags}]}},
            {"special_tokens_map": {"additional_special_tokens": ["new", "[E]"], "mask_token": "[MASK]"}},
            {"config": {"extra_special_tokens": {"one": "new", "other": "[E]"}}},
            {
                "tokenizer": tokenizer_json(more=[added(len(TOKENS), "new")]),
                "config": {"extra_special_tokens": ["[E]"]},
            },
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert rules_in(write(folder, **files)).added_tokens == expected
    (tmp_path / "old").mkdir()
    old = write(tmp_path / "old", added_tokens={"new": len(TOKENS)})
    assert rules_in(old).added_tokens == (AddedToken("new", len(TOKENS), normalized=True),)


BERT, AS_IT_IS = {"tokenizer_class": "BertTokenizer"}, {"tokenizer_class": "PreTrainedTokenizerFast"}


@pytest.mark.parametrize(
    ("config", "normalizer", "expected"),
    [
        ({**BERT, "do_lower_case": False}, {}, TextRules(True, max_input_chars_per_word=100)),
        ({"do_lower_case": True}, {"lowercase": False}, TextRules(max_input_chars_per_word=100)),
        ({**AS_IT_IS, "do_lower_case": True}, {"lowercase": False}, TextRules(True, max_input_chars_per_word=100)),
        ({**BERT, "strip_accents": False}, {}, TextRules(False, False, max_input_chars_per_word=100)),
        ({"strip_accents": None}, {"strip_accents": False}, TextRules(max_input_chars_per_word=100)),
        ({"tokenize_chinese_chars": False}, {}, TextRules(False, None, False, 100)),
        ({**BERT, "strip_accents": False, "do_lower_case": True}, None, TextRules(False, False, True, 100)),
        ({"do_lower_case": False}, None, TextRules(True, None, True, 100)),
    ],
)
def test_what_two_files_say_is_combined_as_transformers_does(tmp_path, config, normalizer, expected):
    """Expected: the normalizer of AutoTokenizer in transformers 4.57 and 5.24, of the same folder."""
    tokenizer = None if normalizer is None else tokenizer_json(normalizer)
    assert rules_in(write(tmp_path, config, tokenizer)) == expected


def test_where_the_files_do_not_say_the_case_or_disagree_the_user_is_asked(tmp_path):
    settings = read_settings(write(tmp_path, {"model_max_length": 128}))
    assert (settings.cased, settings.disagreement, settings.model_max_length) == (None, None, 128)
    settings = read_settings(write(tmp_path, {}, tokenizer_json({"lowercase": False})))
    assert settings.cased is None
    assert "tokenizer.json has lowercase false, and tokenizer_config.json beside it" in settings.disagreement
    assert settings.disagreement.endswith("or give --cased or --uncased")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"config": {"never_split": ["über"]}}, r'config.json has never_split \["über"\], expected null: maskmill can'),
        ({"config": {"do_basic_tokenize": False}}, "has do_basic_tokenize false, expected true"),
        ({"config": {"tokenizer_class": "BertJapaneseTokenizer"}}, 'has tokenizer_class "BertJapaneseTokenizer", exp'),
        ({"config": {"tokenizer_class": ["BertTokenizer"]}}, r'has tokenizer_class \["BertTokenizer"\], expected'),
        ({"config": {"mask_token": "<mask>"}}, r'config.json has mask_token "<mask>", expected \[MASK\]'),
        ({"special_tokens_map": {"cls_token": {"content": "<s>"}}}, r'map.json has cls_token "<s>", expected \[CLS\]'),
        ({"config": {"do_lower_case": 1}}, "has do_lower_case 1, expected true or false"),
        ({"config": {}, "tokenizer": tokenizer_json({"strip_accents": False})}, "write strip_accents into"),
        ({"tokenizer": tokenizer_json({"clean_text": False})}, "has clean_text false, expected true"),
        ({"tokenizer": tokenizer_json({"type": "Lowercase"})}, 'has normalizer "Lowercase", expected BertNormalizer'),
        (
            {"tokenizer": {**tokenizer_json(), "normalizer": {"type": "Sequence", "normalizers": [*NFC, NORMALIZER]}}},
            r'has normalizer \["NFC", "BertNormalizer"\], expected BertNormalizer',
        ),
        ({"tokenizer": {**tokenizer_json(), "normalizer": None}}, "has normalizer null, expected BertNormalizer"),
        ({"tokenizer": {**tokenizer_json(), "pre_tokenizer": {"type": "Whitespace"}}}, 'pre_tokenizer "Whitespace"'),
        ({"tokenizer": {**tokenizer_json(), "post_processor": {"type": "RobertaProcessing"}}}, "has post_processor"),
        ({"tokenizer": tokenizer_json(type="BPE")}, 'has type "BPE", expected WordPiece'),
        ({"tokenizer": tokenizer_json(unk_token="<unk>")}, r'has unk_token "<unk>", expected \[UNK\]'),
        ({"tokenizer": tokenizer_json(continuing_subword_prefix="@")}, 'continuing_subword_prefix "@", expected ##'),
        ({"tokenizer": tokenizer_json(max_input_chars_per_word=-1)}, "has max_input_chars_per_word -1, expected"),
        ({"tokenizer": tokenizer_json(vocab={"a": 1})}, "no WordPiece vocabulary with the ids 0, 1, 2 and so on"),
        ({"tokenizer": tokenizer_json(vocab=["a"])}, "is damaged"),
        ({"tokenizer": {"model": 3}}, "is damaged"),
        ({"added_tokens": {"new": "x"}}, "has an added token without a content or an id"),
        ({"added_tokens": {" ": len(TOKENS)}}, "has an added token ' ', expected a word"),
        ({"config": {"added_tokens_decoder": {"40": "new"}}}, "has an added token without a content or an id"),
        ({"config": {"added_tokens_decoder": {"40": added(0, "new")}}}, f"has id 40, expected {len(TOKENS)} after a"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused_by_name(tmp_path, files, sentence):
    with pytest.raises(InputError, match=sentence):
        rules_in(write(tmp_path, **files))


def test_a_sequence_of_the_one_right_part_is_followed(tmp_path):
    content = tokenizer_json()
    content["normalizer"] = {"type": "Sequence", "normalizers": [{**NORMALIZER, "lowercase": False}]}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}]}
    assert rules_in(write(tmp_path, AS_IT_IS, content)).cased


def test_without_a_file_there_are_no_settings(tmp_path):
    assert read_settings(tmp_path) is None


def test_rules_are_kept_in_a_description():
    rules = TextRules(True, False, False, 100, (AddedToken("new", 7, single_word=True),))
    assert TextRules.from_dict(True, json.loads(json.dumps(rules.to_dict()))) == rules
    assert TextRules(True).to_dict() == TextRules().to_dict() == {}
    for damage in ({"x": 1}, {"added_tokens": [{"content": 1, "id": 2}]}, {"max_input_chars_per_word": "9"}):
        with pytest.raises(TypeError):
            TextRules.from_dict(False, damage)


@pytest.mark.parametrize(
    ("path", "cased"),
    [
        ("uncased_L-12_H-768_A-12/bert_model.ckpt", False),
        ("/a/multilingual_L-12_H-768_A-12/bert_model.ckpt.index", False),
        ("gs://bucket/chinese_L-12_H-768_A-12/", False),
        ("multi_cased_L-12_H-768_A-12", True),
        ("wwm_cased_L-24_H-1024_A-16/bert_model.ckpt", True),
        ("cased/mine", None),
        ("/a/broadcasted/bert_model.ckpt", None),
    ],
)
def test_googles_names_say_whether_a_model_is_cased(path, cased):
    assert cased_by_name(path) is cased


def test_a_guess_says_what_it_is_from_and_how_to_change_it():
    capitals = [chr(code) for code in range(ord("A"), ord("Z") + 1)]
    chinese = Vocab([*SPECIAL_TOKENS, *capitals, *(f"##word{number}" for number in range(3_900)), "北"])
    cased, sentence = guess_cased("model", chinese)
    assert not cased
    assert sentence.endswith("as its vocabulary has few or no tokens with capitals; if that is wrong, give --cased")
    assert guess_cased("model", Vocab(TOKENS))[0] is True
    cased, sentence = guess_cased("chinese_L-12_H-768_A-12", Vocab(TOKENS))
    assert not cased
    assert "is lower-cased, by the name of its folder; if" in sentence
