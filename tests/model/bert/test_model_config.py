import json

import pytest

from maskmill.model.bert.config import PRESETS, BertConfig
from maskmill.tokenizer.errors import InputError

# Google's files, as published with BERT base and with the small BERTs.
GOOGLES_BASE = {
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 768,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}


def test_the_defaults_are_bert_base():
    assert BertConfig(30522).to_dict() == BertConfig.load("base", 30522).to_dict() == GOOGLES_BASE


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_heads_of_64(name):
    config = BertConfig.load(name, vocab_size=100)
    assert config.hidden_size == 64 * config.num_attention_heads
    assert config.intermediate_size == 4 * config.hidden_size
    assert config.vocab_size == 100


def test_googles_file_is_read_and_written(tmp_path):
    path = tmp_path / "bert_config.json"
    path.write_text(json.dumps({**GOOGLES_BASE, "pooler_fc_size": 768}))
    config = BertConfig.load(path, vocab_size=7)
    assert config.to_dict() == GOOGLES_BASE
    assert json.loads(config.to_json()) == GOOGLES_BASE


def test_a_file_without_a_vocabulary_size_takes_that_of_the_data(tmp_path):
    path = tmp_path / "bert_config.json"
    path.write_text('{"hidden_size": 64, "num_attention_heads": 2}')
    assert BertConfig.load(path, vocab_size=7).vocab_size == 7


@pytest.mark.parametrize("text", [None, "not json", "[]"])
def test_an_unknown_name_or_a_bad_file_is_refused(tmp_path, text):
    path = tmp_path / "huge"
    if text is not None:
        path.write_text(text)
    with pytest.raises(
        InputError, match=r"bert_config .*huge (is neither one of tiny, mini|is not JSON|holds no JSON)"
    ):
        BertConfig.load(path, vocab_size=7)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"hidden_size": 100}, "num_attention_heads is 12; expected a divisor of hidden_size, which is 100"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; expected a whole number from 1 to 256"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers is 'two'; expected a whole number"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'; expected 'gelu'"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob is 1.0; expected a share"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(values, sentence):
    with pytest.raises(InputError, match=sentence):
        BertConfig(30522, **values)


HUGGING_FACES_BASE = {
    **GOOGLES_BASE,
    "architectures": ["BertForMaskedLM"],
    "gradient_checkpointing": False,
    "layer_norm_eps": 1e-12,
    "model_type": "bert",
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "transformers_version": "4.6.0.dev0",
    "use_cache": True,
}


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "gelu_pytorch_tanh"])
def test_hugging_faces_file_is_read(tmp_path, hidden_act):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**HUGGING_FACES_BASE, "hidden_act": hidden_act}))
    assert BertConfig.load(path, vocab_size=7).to_dict() == GOOGLES_BASE


@pytest.mark.parametrize("name", ["bert_config.json", "config.json"])
def test_a_folder_that_holds_a_configuration_is_read(tmp_path, name):
    (tmp_path / name).write_text(json.dumps(HUGGING_FACES_BASE))
    assert BertConfig.load(tmp_path, vocab_size=7).to_dict() == GOOGLES_BASE


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("model_type", "roberta", "'bert'"),
        ("position_embedding_type", "relative_key_query", "'absolute'"),
        ("is_decoder", True, "False"),
        ("add_cross_attention", True, "False"),
        ("tie_word_embeddings", False, "True"),
        ("layer_norm_eps", 1e-5, "1e-12"),
        ("pruned_heads", {"0": 1}, "{}"),
    ],
)
def test_the_configuration_of_another_model_is_refused(tmp_path, name, value, expected):
    (tmp_path / "config.json").write_text(json.dumps({**HUGGING_FACES_BASE, name: value}))
    with pytest.raises(InputError, match=rf"^bert_config .*: {name} is {value!r}; expected {expected}, give the conf"):
        BertConfig.load(tmp_path, vocab_size=7)
