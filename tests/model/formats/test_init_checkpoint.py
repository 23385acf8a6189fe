import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from checkpoints_of_others import CONFIG, GOOGLE, TOKENS, arrays_of, new_model, write_hugging_face, write_ours
from checkpoints_of_others import source as source  # a fixture
from cloud import emulator
from google.cloud.storage import Client
from places import GOLDEN
from safetensors.numpy import save_file

from maskmill.model.bert.config import BertConfig
from maskmill.model.formats.checkpoint_formats import read_init_checkpoint, without_slots
from maskmill.model.formats.export import google_name, hugging_face_weights, weight_names
from maskmill.model.formats.init_checkpoint import initialize
from maskmill.pipeline.storage import local_files
from maskmill.pipeline.storage.store import CLOUD
from maskmill.tokenizer.errors import InputError

OTHER_TOKENS = ["[PAD]", "new", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "b", "a", "also", "##f"]
WORDS, POSITIONS = "bert/embeddings/word_embeddings", "bert/embeddings/position_embeddings"


def initialized(path, config=CONFIG, tokens=TOKENS, resize_embeddings=False):
    """The weights of a model that begins with a checkpoint, those that it had before, and what was said."""
    model, fresh = new_model(config)
    for name, weight in model.named_weights.items():
        weight.assign(fresh[name])
    notes = initialize(model, read_init_checkpoint(path), tokens, resize_embeddings)
    return arrays_of(model), fresh, notes


def assert_equal(weights, expected, names=None):
    for name in names or expected:
        np.testing.assert_array_equal(weights[name], expected[name], err_msg=name)


def test_the_names_of_the_weights_are_those_of_the_model(source):
    assert sorted(weight_names(CONFIG.num_hidden_layers)) == sorted(source.named_weights)


@pytest.mark.parametrize(
    "name", ["", "bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"]
)
def test_googles_checkpoint_gives_the_weights_that_its_golden_run_began_with(name):
    pytest.importorskip("tensorflow", reason="reads TF1 checkpoints")
    with np.load(GOLDEN / "google_tiny_training.npz") as golden:
        expected = {key: golden[f"init/{google_name(key)}"] for key in weight_names(2)}
    expected["next_sentence/kernel"] = expected["next_sentence/kernel"].T
    config = BertConfig.load(GOOGLE, vocab_size=7)
    weights, _, notes = initialized(GOOGLE / name, config, tokens=None)
    assert config.vocab_size == 500
    assert notes == []
    assert_equal(weights, expected)
    assert weights.keys() == expected.keys()


def test_a_hugging_face_folder_gives_its_weights(source, tmp_path):
    weights, _, notes = initialized(write_hugging_face(tmp_path / "hf", hugging_face_weights(source)))
    assert notes == []
    assert_equal(weights, arrays_of(source))


def old_names(arrays):
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in arrays.items()
    } | {"bert.embeddings.position_ids": np.arange(12)[None]}


def tied_decoder(arrays):
    arrays = dict(arrays)
    bias = arrays.pop("cls.predictions.bias")
    words = arrays["bert.embeddings.word_embeddings.weight"]
    return arrays | {"cls.predictions.decoder.bias": bias, "cls.predictions.decoder.weight": words.copy()}


@pytest.mark.parametrize("form", [old_names, tied_decoder])
def test_older_forms_of_hugging_faces_names_give_the_same_weights(source, tmp_path, form):
    weights, _, notes = initialized(write_hugging_face(tmp_path / "hf", form(hugging_face_weights(source))))
    assert notes == []
    assert_equal(weights, arrays_of(source))


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "_orig_mod.module.", "bert.", "0.auto_model."])
@pytest.mark.parametrize("is_whole", [True, False], ids=["with heads", "BertModel"])
def test_what_a_model_around_it_puts_before_the_names_is_left_out(source, tmp_path, prefix, is_whole):
    arrays = hugging_face_weights(source)
    arrays = arrays if is_whole else bert_model(arrays)
    folder = write_hugging_face(tmp_path / "hf", {prefix + name: array for name, array in arrays.items()})
    weights, _, notes = initialized(folder)
    assert_equal(weights, arrays_of(source), None if is_whole else [n for n in weights if n.startswith("bert/")])
    assert len(notes) == (not is_whole)


def test_two_models_in_one_file_are_refused(source, tmp_path):
    arrays = bert_model(hugging_face_weights(source))
    both = {f"{name}.{weight}": array.copy() for name in ("query", "passage") for weight, array in arrays.items()}
    with pytest.raises(InputError, match=r"holds 2 models with word embeddings, named passage., query.; expected one"):
        read_init_checkpoint(write_hugging_face(tmp_path / "hf", both))


def test_of_many_names_that_are_left_aside_a_few_are_said(source, tmp_path):
    more = {f"classifier.{number:03d}": np.zeros(1, np.float32) for number in range(500)}
    _, _, (note,) = initialized(write_hugging_face(tmp_path / "hf", {**hugging_face_weights(source), **more}))
    assert note == "left aside: classifier.000, classifier.001, classifier.002 and 497 others"


@pytest.mark.parametrize(
    "slot",
    [
        *("{}/adam_m", "{}/adam_v", "{}/LAMB", "{}/LAMB_1", "{}/BERTAdam", "{}/BERTAdam_1", "{}/Momentum"),
        *("{}/AdamWeightDecayOptimizer_1", "AdamWeightDecay/{}/m", "training/Adam/{}/v"),
    ],
)
def test_what_an_optimizer_keeps_is_no_weight(slot):
    names = [google_name(name) for name in weight_names(2)]
    others = ["global_step", "beta1_power", "beta2_power", "loss_scale", "good_steps", "output_weights"]
    slots = [slot.format(name) for name in names] + ["output_weights/adam_m", "output_weights/LAMB"]
    assert without_slots([*names, *slots, *others]) == sorted([*names, "output_weights"])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_float32(source, tmp_path, dtype):
    half = {name: array.astype(dtype) for name, array in hugging_face_weights(source).items()}
    weights, _, _ = initialized(write_hugging_face(tmp_path / "hf", half))
    assert_equal(weights, {name: value.astype(dtype).astype(np.float32) for name, value in arrays_of(source).items()})


def bert_model(arrays):
    return {name.removeprefix("bert."): array for name, array in arrays.items() if name.startswith("bert.")}


def bert_for_masked_lm(arrays):
    return {name: array for name, array in arrays.items() if "pooler" not in name and "seq_relationship" not in name}


def bert_for_classification(arrays):
    kept = {name: array for name, array in arrays.items() if name.startswith("bert.")}
    return {**kept, "classifier.weight": np.zeros((3, 8), np.float32)}


@pytest.mark.parametrize(
    ("layout", "fresh_names", "sentences"),
    [
        (
            bert_model,
            {"masked_lm", "next_sentence"},
            ["has no masked_lm and no next_sentence, which are newly initialized"],
        ),
        (bert_for_masked_lm, {"bert/pooler", "next_sentence"}, ["has no bert/pooler and no next_sentence, which"]),
        (
            bert_for_classification,
            {"masked_lm", "next_sentence"},
            ["left aside: classifier.weight", "has no masked_lm"],
        ),
    ],
)
def test_heads_that_a_model_has_not_begin_fresh_which_is_said(source, tmp_path, layout, fresh_names, sentences):
    folder = write_hugging_face(tmp_path / "hf", layout(hugging_face_weights(source)))
    weights, fresh, notes = initialized(folder)
    is_fresh = {name: name.startswith(tuple(fresh_names)) for name in weights}
    assert_equal(weights, {name: fresh[name] if is_fresh[name] else array for name, array in arrays_of(source).items()})
    assert len(notes) == len(sentences)
    assert all(sentence in note for sentence, note in zip(sentences, notes))


def test_weights_in_several_files_are_put_together(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", {})
    (folder / "model.safetensors").unlink()
    names = sorted(arrays := hugging_face_weights(source))
    files = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: arrays[name] for name in names if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    assert_equal(initialized(folder)[0], arrays_of(source))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no model-00002-of-00002.safetensors, which"):
        read_init_checkpoint(folder)


def test_the_erf_form_of_gelu_is_said(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source), hidden_act="gelu")
    weights, _, notes = initialized(folder)
    assert ["erf form" in note for note in notes] == [True]
    assert_equal(weights, arrays_of(source))


def test_our_own_folder_gives_its_newest_undamaged_checkpoint(source, tmp_path):
    folder = write_ours(tmp_path / "model", source, steps=(3, 20))
    weights, _, notes = initialized(folder)
    assert notes == []
    assert_equal(weights, arrays_of(source))
    shutil.copy(folder / "checkpoint-20.safetensors", folder / "checkpoint-3.safetensors")
    (folder / "checkpoint-20.safetensors").write_bytes(b"cut")
    weights, _, (note,) = initialized(folder)
    assert "checkpoint-20.safetensors is damaged" in note
    assert_equal(weights, arrays_of(source))


def test_a_checkpoint_of_ours_may_be_named(source, tmp_path):
    folder = write_ours(tmp_path / "model", source, steps=(3, 20))
    assert_equal(initialized(folder / "checkpoint-3.safetensors")[0], new_model(CONFIG)[1])


@pytest.mark.parametrize(
    ("tokens", "sentence"),
    [
        (TOKENS[:9], "which are left out: of the added token 'd e'"),
        ([*TOKENS[:9], "d e"], "has 2 embeddings behind those of the dataset's tokens, which are left out"),
    ],
)
def test_embeddings_behind_those_of_the_datasets_tokens_are_left_out(source, tmp_path, tokens, sentence):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source), TOKENS[:9])
    (folder / "added_tokens.json").write_text(json.dumps({"d e": 9}))
    weights, _, (note,) = initialized(folder, replace(CONFIG, vocab_size=len(tokens)), tokens)
    assert note.endswith(sentence)
    np.testing.assert_array_equal(weights[WORDS], arrays_of(source)[WORDS][: len(tokens)])
    with pytest.raises(InputError, match=r"has vocab_size 12, the dataset has 9"):
        initialized(folder, replace(CONFIG, vocab_size=9), ["x", *TOKENS[1:9]])


def begin_on(folder, source, cased, resize_embeddings=False):
    """What is said when a training on a dataset begins with a checkpoint, but for other things."""
    model, _ = new_model(CONFIG)
    return initialize(model, read_init_checkpoint(folder), TOKENS, resize_embeddings, cased)


def test_a_checkpoint_of_another_case_than_the_dataset_is_refused(source, tmp_path):
    folders = [
        write_hugging_face(tmp_path / name, hugging_face_weights(source)) for name in ("hf", "bert-base-uncased")
    ]
    (folders[0] / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    folders.append(write_ours(tmp_path / "ours", source))
    for folder in folders:
        assert begin_on(folder, source, cased=False) == []
        with pytest.raises(
            InputError, match=r"the dataset is cased, the model is not; generate the dataset without --c"
        ):
            begin_on(folder, source, cased=True)
        (note,) = begin_on(folder, source, cased=True, resize_embeddings=True)
        assert note.endswith("was trained on: the dataset is cased, the model is not")


def test_another_case_by_the_vocabulary_or_other_settings_are_said(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    (note,) = begin_on(folder, source, cased=True)
    assert note.startswith(f"by its vocabulary {folder} is an uncased model, and the dataset is a cased one: if that")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": false}')
    (note,) = begin_on(folder, source, cased=False)
    assert note.endswith("the model's tokenizer has strip_accents false, the dataset's true")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertJapaneseTokenizer"}')
    (note,) = begin_on(folder, source, cased=False)
    assert note.startswith("whether the dataset has the tokens that the model was trained on is not known: ")


def test_another_vocabulary_is_refused(source, tmp_path):
    folder = write_ours(tmp_path / "model", source)
    with pytest.raises(InputError, match=r"has vocab_size 12, the dataset has 10; .*vocab.txt.*--resize-embeddings"):
        initialized(folder, replace(CONFIG, vocab_size=10), OTHER_TOKENS)


def test_another_vocabulary_of_the_same_size_is_refused(source, tmp_path):
    folder = write_ours(tmp_path / "model", source)
    other = [*TOKENS[:7], "z", *TOKENS[8:]]
    with pytest.raises(InputError, match=r"token 7 is 'c' there and 'z' here; .*--resize-embeddings"):
        initialized(folder, tokens=other)
    weights, fresh, _ = initialized(folder, tokens=other, resize_embeddings=True)
    np.testing.assert_array_equal(weights[WORDS][7], fresh[WORDS][7])
    np.testing.assert_array_equal(np.delete(weights[WORDS], 7, 0), np.delete(arrays_of(source)[WORDS], 7, 0))


def test_rows_of_tokens_in_both_vocabularies_are_kept(source, tmp_path):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    config = replace(CONFIG, vocab_size=len(OTHER_TOKENS))
    weights, fresh, (note,) = initialized(folder, config, OTHER_TOKENS, resize_embeddings=True)
    for name in (WORDS, "masked_lm/output_bias"):
        for id, token in enumerate(OTHER_TOKENS):
            expected = arrays_of(source)[name][TOKENS.index(token)] if token in TOKENS else fresh[name][id]
            np.testing.assert_array_equal(weights[name][id], expected, err_msg=token)
    assert "of 10 tokens 8 begin as in" in note
    assert_equal(weights, arrays_of(source), weights.keys() - {WORDS, "masked_lm/output_bias"})


@pytest.mark.parametrize("vocab_size", [9, 15])
def test_where_a_vocabulary_is_unknown_the_first_rows_are_kept(source, tmp_path, vocab_size):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    (folder / "vocab.txt").unlink()
    tokens = [f"token{id}" for id in range(vocab_size)]
    weights, fresh, (note,) = initialized(folder, replace(CONFIG, vocab_size=vocab_size), tokens, True)
    n = min(vocab_size, 12)
    np.testing.assert_array_equal(weights[WORDS], np.concatenate([arrays_of(source)[WORDS][:n], fresh[WORDS][n:]]))
    assert "not known" in note


@pytest.mark.parametrize("positions", [8, 16])
def test_the_first_positions_are_kept_when_that_is_asked_for(source, tmp_path, positions):
    folder = write_ours(tmp_path / "model", source)
    config = replace(CONFIG, max_position_embeddings=positions)
    with pytest.raises(InputError, match=rf"has max_position_embeddings 12, bert_config has {positions}; .*--resize"):
        initialized(folder, config)
    weights, fresh, (note,) = initialized(folder, config, resize_embeddings=True)
    n = min(positions, 12)
    expected = np.concatenate([arrays_of(source)[POSITIONS][:n], fresh[POSITIONS][n:]])
    np.testing.assert_array_equal(weights[POSITIONS], expected)
    assert f"the first {n} positions" in note


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_size", 4), ("num_hidden_layers", 1), ("num_attention_heads", 4), ("intermediate_size", 8),
     ("type_vocab_size", 3)],
)  # fmt: skip
def test_a_model_of_another_shape_is_refused(source, tmp_path, name, value):
    folder = write_ours(tmp_path / "model", source)
    with pytest.raises(InputError, match=rf"has {name} {getattr(CONFIG, name)}, bert_config has {value}; set it to"):
        initialized(folder, replace(CONFIG, **{name: value}), resize_embeddings=True)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta'; expected 'bert'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'; expected 'absolute'"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"intermediate_size": 32}, "config.json has intermediate_size 32, the weights beside it have 16"),
    ],
)
def test_weights_that_are_not_of_a_bert_are_refused(source, tmp_path, values, sentence):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source), **values)
    with pytest.raises(InputError, match=sentence):
        read_init_checkpoint(folder)


def test_a_missing_layer_is_named(source, tmp_path):
    arrays = hugging_face_weights(source)
    arrays = {name: array for name, array in arrays.items() if "layer.0.attention" not in name}
    with pytest.raises(InputError, match=r"has no bert.encoder.layer.0.attention.self.query.weight, so it is not"):
        read_init_checkpoint(write_hugging_face(tmp_path / "hf", arrays))


def test_a_bias_for_other_tokens_is_refused(source, tmp_path):
    arrays = {**hugging_face_weights(source), "cls.predictions.bias": np.zeros(5, np.float32)}
    with pytest.raises(InputError, match=r"cls.predictions.bias in the checkpoint has 5 rows, bert.embeddings.word_em"):
        read_init_checkpoint(write_hugging_face(tmp_path / "hf", arrays))


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def flip(path, share):
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("damage", "share"), [(cut, 0), (cut, 0.5), (cut, 0.99), (flip, 0.5)])
@pytest.mark.parametrize("name", ["bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"])
def test_a_damaged_checkpoint_of_googles_is_refused(tmp_path, name, damage, share):
    pytest.importorskip("tensorflow", reason="reads TF1 checkpoints")
    shutil.copytree(GOOGLE, tmp_path / "google")
    damage(tmp_path / "google" / name, share)
    with pytest.raises(InputError, match=r"bert_model.ckpt is damaged \(.+\); copy its files again"):
        read_init_checkpoint(tmp_path / "google")


def test_a_missing_part_of_a_checkpoint_of_googles_is_named(tmp_path):
    pytest.importorskip("tensorflow", reason="reads TF1 checkpoints")
    shutil.copytree(GOOGLE, tmp_path / "google")
    (tmp_path / "google" / "bert_model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(InputError, match=r"bert_model.ckpt lacks its file bert_model.ckpt.data-00000-of-00001; copy"):
        read_init_checkpoint(tmp_path / "google")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_cut_hugging_face_folder_is_refused(source, tmp_path, share):
    folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))
    cut(folder / "model.safetensors", share)
    with pytest.raises(InputError, match=r"model.safetensors is damaged \(.+\); copy it again"):
        read_init_checkpoint(folder)


@pytest.mark.parametrize(
    ("files", "path", "sentence"),
    [
        ([], "", "holds no checkpoint; give a checkpoint of Google's"),
        ([], "nothing", "is no checkpoint, or is not there; give"),
        (["notes.txt"], "notes.txt", "is no checkpoint, or is not there; give"),
        (["a.ckpt.index", "b.ckpt.index"], "", r"holds 2 checkpoints; give one of them, such as .*b.ckpt$"),
        (["config.json", "pytorch_model.bin"], "", "holds pytorch_model.bin, which is not read; write it as"),
        (["model.safetensors"], "", "has no config.json beside its weights"),
        (["config.json", "model.safetensors.index.json"], "", "is not JSON"),
        (["training.json"], "", "training.json is not JSON"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_the_way_out(tmp_path, files, path, sentence):
    for name in files:
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=sentence):
        read_init_checkpoint(tmp_path / path)


def test_a_folder_of_ours_without_an_undamaged_checkpoint_is_refused(source, tmp_path):
    folder = write_ours(tmp_path / "model", source)
    (folder / "checkpoint-3.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match=r"every checkpoint in .*model is damaged"):
        read_init_checkpoint(folder)
    (folder / "checkpoint-3.safetensors").unlink()
    with pytest.raises(InputError, match="has no checkpoint yet"):
        read_init_checkpoint(folder)


@pytest.mark.parametrize(
    "name", ["checkpoint-20.safetensors", "model.safetensors", "bert_model.ckpt.data-00000-of-00001", "vocab.txt"]
)
def test_what_may_not_be_read_is_not_called_damaged(source, tmp_path, monkeypatch, name):
    if name.startswith("checkpoint"):
        folder = write_ours(tmp_path / "model", source, steps=(3, 20))  # the one before it is not taken either
    elif name.startswith("bert_model"):
        folder = tmp_path / "google"
        shutil.copytree(GOOGLE, folder)
    else:
        folder = write_hugging_face(tmp_path / "hf", hugging_face_weights(source))

    def refuse(path, *mode):
        if Path(path).name == name:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open(path, *mode)

    monkeypatch.setattr(local_files, "open", refuse, raising=False)
    with pytest.raises(InputError, match=rf"{name} cannot be read \(Permission denied\); check the path and its perm"):
        read_init_checkpoint(folder)


def test_checkpoints_in_cloud_storage_are_read_there(source, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow", reason="reads TF1 checkpoints")
    write_ours(tmp_path / "model", source, steps=(3, 20))
    write_hugging_face(tmp_path / "hf", hugging_face_weights(source), hidden_act="gelu")
    shutil.copytree(GOOGLE, tmp_path / "google")
    with emulator() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        CLOUD.forget()
        bucket = Client().bucket("work")
        bucket.create()
        for path in tmp_path.rglob("*.*"):
            bucket.blob(str(path.relative_to(tmp_path))).upload_from_filename(path)
        assert_equal(initialized("gs://work/model")[0], arrays_of(source))
        weights, _, (note,) = initialized("gs://work/hf")
        assert_equal(weights, arrays_of(source))
        assert note.startswith("the weights were trained with the erf form")
        google = read_init_checkpoint("gs://work/google/bert_model.ckpt")
        assert google.config == BertConfig.load(GOOGLE, 0)
        assert_equal(google.weights, read_init_checkpoint(GOOGLE).weights)
        with pytest.raises(InputError, match=r"^gs://work/google/other.ckpt is no checkpoint, or is not there"):
            read_init_checkpoint("gs://work/google/other.ckpt")
