"""A model is used in the same way, whoever trained it."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from cloud import emulator
from google.cloud.storage import Client
from test_init_checkpoint import GOOGLE, TOKENS, write_hugging_face, write_ours
from test_init_checkpoint import source as source  # a fixture

from model.checkpoint import save_best
from model.interop import hugging_face_weights
from model.trained import open_trained
from tokenizer.errors import InputError
from tokenizer.huggingface import to_tokenizer_json
from tokenizer.vocab import Vocab


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
        assert (trained.vocab.tokens, trained.cased, trained.missing_heads) == (TOKENS, False, ())
        trained.require_head("masked_lm")


def test_googles_checkpoint_needs_its_vocabulary_and_configuration(tmp_path):
    shutil.copytree(GOOGLE, tmp_path / "google")
    (prefix,) = (path.with_suffix("") for path in (tmp_path / "google").glob("*.index"))
    (tmp_path / "google" / "vocab.txt").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"has no vocab.txt beside it"):
        open_trained(prefix)
    config = json.loads((tmp_path / "google" / "bert_config.json").read_text())
    tokens = [*TOKENS, *(f"token{id}" for id in range(len(TOKENS), config["vocab_size"]))]
    (tmp_path / "google" / "vocab.txt").write_text("\n".join(tokens[:-1]))
    with pytest.raises(InputError, match=rf"has {len(tokens) - 1:,} tokens, its weights have {len(tokens):,}"):
        open_trained(prefix)
    (tmp_path / "google" / "vocab.txt").write_text("\n".join(tokens))
    trained = open_trained(prefix)
    assert (trained.vocab.tokens, trained.cased, trained.step) == (tokens, False, None)
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
    assert open_trained(folder).cased is cased


def test_a_tokenizer_json_alone_has_the_vocabulary(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer.json").write_text(to_tokenizer_json(Vocab(TOKENS), cased=False))
    assert open_trained(folder).vocab.tokens == TOKENS
    for damage, sentence in (
        ("{", "is not JSON"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}}}', "holds no WordPiece vocabulary"),
        ('{"model": {"type": "WordPiece", "vocab": {"a": 1}}}', "whose ids are 0 to its end"),
    ):
        (folder / "tokenizer.json").write_text(damage)
        with pytest.raises(InputError, match=sentence):
            open_trained(folder)


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
    write_hugging_face(tmp_path / "hf", hugging_face_weights(source), TOKENS[:-1])
    with emulator() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        bucket = Client().bucket("work")
        bucket.create()
        for path in tmp_path.rglob("*.*"):
            bucket.blob(str(path.relative_to(tmp_path))).upload_from_filename(path)
        trained = open_trained("gs://work/ours")
        assert_same_weights(source, trained.model)
        assert (trained.path, trained.step) == ("gs://work/ours", 3)
        with pytest.raises(InputError, match=r"^the vocabulary beside gs://work/hf has 11 tokens"):
            open_trained("gs://work/hf")
