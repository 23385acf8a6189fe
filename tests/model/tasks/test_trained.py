"""A model is used in the same way, whoever trained it."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from checkpoints_of_others import GOOGLE, TOKENS, write_hugging_face, write_ours
from checkpoints_of_others import source as source  # a fixture
from cloud import emulator
from google.cloud.storage import Client

from maskmill.model.formats.export import hugging_face_weights
from maskmill.model.tasks.embed import Embedder
from maskmill.model.tasks.embed_config import EmbedConfig
from maskmill.model.tasks.fill_mask import fill_mask
from maskmill.model.tasks.trained import open_trained, without_spare_rows
from maskmill.model.training.checkpoint import save_best
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.huggingface import to_tokenizer_json
from maskmill.tokenizer.rules import AddedToken, TextRules
from maskmill.tokenizer.vocab import Vocab


def write_trained(folder, model):
    """As `train` leaves a folder, with the checksum of its vocabulary."""
    write_ours(folder, model, steps=(3,))
    training = json.loads((folder / "training.json").read_text())
    training["vocab_sha256"] = hashlib.sha256((folder / "vocab.txt").read_bytes()).hexdigest()
    (folder / "training.json").write_text(json.dumps(training))
    return folder


def assert_same_weights(model, other):
    for name, weight in model.named_weights.items():
        np.testing.assert_array_equal(np.asarray(other.named_weights[name]), np.asarray(weight), err_msg=name)


def test_ours_and_hugging_faces_give_the_same_model(source, tmp_path):
    for folder in (
        write_trained(tmp_path / "ours", source),
        write_hugging_face(tmp_path / "hf", hugging_face_weights(source)),
    ):
        trained = open_trained(folder)
        assert_same_weights(source, trained.model)
        assert (trained.vocab.tokens, trained.rules.cased, trained.missing_heads) == (TOKENS, False, ())
        trained.require_head("masked_lm")


def test_googles_checkpoint_needs_its_vocabulary_and_configuration(tmp_path):
    shutil.copytree(GOOGLE, tmp_path / "google")
    (prefix,) = (path.with_suffix("") for path in (tmp_path / "google").glob("*.index"))
    (tmp_path / "google" / "vocab.txt").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"has no vocab.txt beside it"):
        open_trained(prefix)
    config = json.loads((tmp_path / "google" / "bert_config.json").read_text())
    tokens = [*TOKENS, *(f"token{id}" for id in range(len(TOKENS), config["vocab_size"]))]
    (tmp_path / "google" / "vocab.txt").write_text("\n".join([*tokens, "more"]))
    with pytest.raises(InputError, match=rf"has {len(tokens) + 1:,} tokens, its weights have {len(tokens):,}"):
        open_trained(prefix)
    (tmp_path / "google" / "vocab.txt").write_text("\n".join(tokens))
    trained = open_trained(prefix)
    assert (trained.vocab.tokens, trained.rules.cased, trained.step) == (tokens, False, None)
    assert trained.model.config.hidden_size == config["hidden_size"]
    (tmp_path / "google" / "bert_config.json").unlink()
    with pytest.raises(InputError, match=r"has no bert_config.json beside it"):
        open_trained(tmp_path / "google")


@pytest.mark.parametrize(("says", "tokens", "cased"), [
    ({"do_lower_case": False}, TOKENS, True),
    ({"do_lower_case": True}, [*TOKENS[:-1], "G"], False),
    ({}, [*TOKENS[:-1], "G"], True),
    (None, [*TOKENS[:-1], "G"], True),
    (None, TOKENS, False),
])  # fmt: skip
def test_the_folder_says_whether_text_keeps_its_case_and_else_the_vocabulary(source, tmp_path, says, tokens, cased):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source), tokens)
    if says is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(says))
    assert open_trained(folder).rules.cased is cased


def test_a_tokenizer_json_alone_has_the_vocabulary(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text(to_tokenizer_json(Vocab(TOKENS), cased=False))
    assert open_trained(folder).vocab.tokens == TOKENS
    for damage, sentence in (
        ("{", "is not JSON"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}}}', 'has type "BPE", expected WordPiece'),
    ):
        (folder / "tokenizer.json").write_text(damage)
        with pytest.raises(InputError, match=sentence):
            open_trained(folder)


def test_a_tokenizer_json_and_another_vocab_txt_are_refused(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source), [*TOKENS[:-1], "h"])
    (folder / "tokenizer.json").write_text(to_tokenizer_json(Vocab(TOKENS), cased=False))
    with pytest.raises(InputError, match=r"are different vocabularies \(token 11 is 'h' in the one and 'g' in the"):
        open_trained(folder)


def test_a_model_with_rows_for_added_tokens_and_padding_is_used(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source), TOKENS[:9])
    (folder / "added_tokens.json").write_text(json.dumps({"new york": 9}))
    trained = open_trained(folder)
    assert trained.rules == TextRules(False, None, True, 100, (AddedToken("new york", 9, normalized=True),))
    assert trained.token_names == [*TOKENS[:9], "new york"]
    assert any("has 12 embeddings for 10 tokens; those behind the last" in note for note in trained.notes)
    ((filling,),) = fill_mask(trained, ["New York [MASK]"], top_k=99)
    assert sorted(one.token for one in filling) == sorted(trained.token_names)
    assert 0.1 < sum(one.probability for one in filling) < 1  # what is left is of the rows without a token
    (embedding,) = Embedder(trained).embed(["New York, a"])
    assert embedding.token_ids.tolist() == [2, 9, 1, 5, 3]
    smaller = without_spare_rows(trained).model
    assert smaller.config.vocab_size == 9
    for name, weight in trained.model.named_weights.items():
        np.testing.assert_array_equal(
            smaller.named_weights[name], np.asarray(weight)[: smaller.named_weights[name].shape[0]]
        )


def test_a_vocabulary_much_smaller_than_the_weights_is_refused(source, tmp_path, monkeypatch):
    monkeypatch.setattr("maskmill.model.tasks.trained.MOST_SPARE_ROWS", 2)
    with pytest.raises(InputError, match=r"has 9 tokens, its weights have 12; copy the vocab.txt that belongs to"):
        open_trained(write_hugging_face(tmp_path / "hf", hugging_face_weights(source), TOKENS[:9]))


def test_a_tokenizer_config_limits_the_tokens_of_a_text(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 5}))
    trained = open_trained(folder)
    assert Embedder(trained).window_length == 5
    assert Embedder(trained, EmbedConfig(max_seq_length=9)).window_length == 9


def test_the_user_says_whether_a_model_is_cased_where_its_files_do_not(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    trained = open_trained(folder, cased=True)
    assert (trained.rules.cased, trained.notes) == (True, ())
    (note,) = open_trained(folder).notes
    assert note.startswith(f"no file beside {folder} says whether the model is cased: text is lower-cased, as its")
    ours = write_trained(tmp_path / "ours", source)
    with pytest.raises(InputError, match=r"ours was trained on text that is lower-cased; leave out --cased"):
        open_trained(ours, cased=True)
    assert open_trained(ours, cased=False).step == 3


def test_a_head_that_the_weights_lack_is_missed_when_it_is_asked_for(source, tmp_path):
    weights = {name: array for name, array in hugging_face_weights(source).items() if not name.startswith("cls.")}
    trained = open_trained(write_hugging_face(tmp_path / "hf", weights))
    trained.require_head("bert/pooler")
    with pytest.raises(InputError, match=r"hf has no weights of masked_lm.*pre-trained with it"):
        trained.require_head("masked_lm")


def test_the_best_checkpoint_is_one_of_ours_alone(source, tmp_path):
    ours = write_trained(tmp_path / "ours", source)
    save_best(ours, source.named_weights, 2, 1.5)
    assert open_trained(ours, "best").step == 2
    assert open_trained(ours).step == 3
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    with pytest.raises(InputError, match=r"checkpoint is best.*was not written by 'maskmill train'"):
        open_trained(folder, "best")


def test_what_is_no_model_is_one_sentence(source, tmp_path):
    with pytest.raises(InputError, match=r"nowhere is no checkpoint, or is not there; give a checkpoint of Google's"):
        open_trained(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no checkpoint"):
        open_trained(tmp_path / "empty")
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(InputError, match=r"tokenizer_config.json holds no JSON object"):
        open_trained(folder)


def test_a_model_may_lie_in_cloud_storage_and_is_named_by_its_place_there(source, tmp_path, monkeypatch):
    write_trained(tmp_path / "ours", source)
    write_hugging_face(tmp_path / "hf", hugging_face_weights(source), [*TOKENS, "more"])
    with emulator() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        bucket = Client().bucket("work")
        bucket.create()
        for path in tmp_path.rglob("*.*"):
            bucket.blob(str(path.relative_to(tmp_path))).upload_from_filename(path)
        trained = open_trained("gs://work/ours")
        assert_same_weights(source, trained.model)
        assert (trained.path, trained.step) == ("gs://work/ours", 3)
        with pytest.raises(InputError, match=r"^the vocabulary beside gs://work/hf has 13 tokens"):
            open_trained("gs://work/hf")
