"""Every JSON file that maskmill reads, damaged by chance and on purpose: it is read, or one sentence says why not."""

import json
import os
import random
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from damage import make_dataset, validate
from hostile_json import mutations

from maskmill.deploy.data.cost import PRICES, Prices
from maskmill.deploy.datasets.inspect import InspectRequest
from maskmill.deploy.datasets.inspection import inspect_dataset
from maskmill.model.bert.config import BertConfig
from maskmill.model.formats.checkpoint_formats import read_init_checkpoint
from maskmill.model.formats.model_dir import read_training
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pruning.smaller import read_pruning
from maskmill.model.tasks.finetune_config import FinetuneConfig
from maskmill.model.tasks.finetuned import read_finetuning
from maskmill.model.tasks.trained import open_trained
from maskmill.model.training.metrics_log import read_metrics
from maskmill.pipeline.analysis.opened_datasets import open_dataset
from maskmill.pipeline.analysis.unknown import find_unknown_words
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import describe_files
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.huggingface import to_tokenizer_json
from maskmill.tokenizer.json_file import seal, seal_versioned

CASES = int(os.environ.get("MASKMILL_FUZZ_CASES", "100"))
REQUEST = {"model_dir": "x", "checkpoint": "newest", "heads": 0.5}
SIZES = {"heads": 1, "units": 3, "num_weights": 4, "weight_bytes": 5, "train_bytes": 6, "seconds_per_sequence": 0.1}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, corpus_lines, small_vocab) -> Path:
    config = InstanceConfig(max_seq_length=16, max_predictions_per_seq=2, shards_per_copy=2, dupe_factor=2)
    folder = make_dataset(tmp_path_factory.mktemp("hostile") / "shards", corpus_lines, config, small_vocab)
    (folder / "rejected-00000.jsonl").write_text("{}\n")
    (folder.parent / "corpus.jsonl").write_text('{"text": "the cat sat"}\n')
    rejected = describe_files(folder, ["rejected-00000.jsonl"])
    (folder / "run.json").write_text(
        seal({"inputs": ["corpus"], "reading": asdict(ReadOptions()), "rejected": rejected})
    )
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory, small_vocab) -> Path:
    """A folder with the JSON files of every kind of model, and no weights."""
    folder = tmp_path_factory.mktemp("hostile") / "model"
    folder.mkdir()
    bert = BertConfig(100, hidden_size=8, num_hidden_layers=2, num_attention_heads=2)
    description = {"backend": "tensorflow", "bert_config": bert.to_dict(), "cased": False, "vocab_sha256": "b" * 64}
    lengths = {"num_train_steps": 3, "max_seq_length": 16, "max_predictions_per_seq": 2}
    files = {
        "training.json": {
            **description,
            "train_config": asdict(TrainConfig()),
            "phases": [{"dataset_sha256": "a" * 64, **lengths}],
            "init_checkpoint": None,
        },
        "finetuning.json": {
            **description,
            "config": asdict(FinetuneConfig()),
            "labels": ["neg", "pös"],
            "fields": {"text_field": "text", "text_pair_field": None, "label_field": "label"},
            "train_sha256": "c" * 64,
            "eval_sha256": "d" * 64,
            "held_out": {"eval_file": None, "eval_fraction": 0.1, "random_seed": 12345},
            "init_model": "bert",
            "init_sha256": "e" * 64,
        },
        "pruning.json": {
            **REQUEST,
            "kept": [{"heads": [0], "units": [1, 2]}],
            "before": SIZES,
            "after": SIZES,
            "loss_by_importance": {"taylor": 1.0},
        },
    }
    for name, values in files.items():
        (folder / name).write_text(seal_versioned(values))
    (folder / "bert_config.json").write_text(bert.to_json())
    (folder / "prices.json").write_text(PRICES.read_text())
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5, "accuracy": 0.5}\n')
    return folder


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory, small_vocab) -> Path:
    """A folder of Hugging Face's whose weights are none, so that all of its JSON files are read before that is seen."""
    folder = tmp_path_factory.mktemp("hostile") / "hf"
    folder.mkdir()
    (folder / "config.json").write_text(BertConfig(100, hidden_size=8, num_attention_heads=2).to_json())
    (folder / "tokenizer.json").write_text(to_tokenizer_json(small_vocab, cased=False))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 1' + 30 * "0" + "}")
    (folder / "model.safetensors.index.json").write_text('{"metadata": {}, "weight_map": {"x": "a.safetensors"}}')
    (folder / "a.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    return folder


def put(folder: Path, name: str, content: bytes, read) -> str:
    """Reads a folder with another content of a file -> "read", or the sentence that says why not."""
    path = folder / name
    good = path.read_bytes()
    path.write_bytes(content)
    started = time.process_time()
    try:
        read(folder)
    except InputError as error:
        sentence = str(error)
        assert "\n" not in sentence.replace("a\nb", ""), sentence
        assert len(sentence) < 2000, sentence
        return sentence
    finally:
        path.write_bytes(good)
        assert time.process_time() - started < 5, content[:200]  # of processor time, a thousand times what it takes
    return "read"


def inspect(folder: Path) -> None:
    inspect_dataset(InspectRequest(str(folder), 1))


def show_words(folder: Path) -> None:
    find_unknown_words(open_dataset(folder), [str(folder.parent / "corpus.jsonl")])


@pytest.mark.parametrize(
    ("name", "read"),
    [("dataset_info.json", DatasetInfo.load), ("dataset_info.json", inspect), ("run.json", show_words)],
)
def test_a_mutated_file_of_a_dataset_is_read_or_refused(dataset, name, read, capsys):
    content = (dataset / name).read_bytes()
    outcomes = {put(dataset, name, bad, read) for bad in mutations(content, f"{name} {read}", CASES, seal)}
    assert len(outcomes) > 10


@pytest.mark.parametrize("name", ["dataset_info.json", "run.json"])
def test_a_mutated_file_of_a_dataset_ends_a_validation_with_problems_or_one_sentence(dataset, name):
    content = (dataset / name).read_bytes()
    for bad in mutations(content, name, CASES // 5, seal):
        put(dataset, name, bad, validate)


MODEL_FILES = [
    ("training.json", read_training),
    ("finetuning.json", read_finetuning),
    ("pruning.json", lambda folder: read_pruning(folder, REQUEST)),
    ("bert_config.json", lambda folder: BertConfig.load(folder, 100)),
    ("prices.json", lambda folder: Prices.load(str(folder / "prices.json"))),
    ("metrics.jsonl", read_metrics),
]


@pytest.mark.parametrize(("name", "read"), MODEL_FILES, ids=[name for name, _ in MODEL_FILES])
def test_a_mutated_file_of_a_model_is_read_or_refused(model, name, read):
    sealed = seal if name in ("training.json", "finetuning.json", "pruning.json") else None
    for bad in mutations((model / name).read_bytes(), name, CASES, sealed):
        put(model, name, bad, read)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json"]
)
def test_a_mutated_file_of_hugging_face_is_read_or_refused(hugging_face, name):
    for bad in mutations((hugging_face / name).read_bytes(), name, CASES):
        assert put(hugging_face, name, bad, open_trained) != "read"


@pytest.mark.parametrize(
    ("folder", "name", "read"),
    [
        ("dataset", "dataset_info.json", lambda folder: DatasetInfo.load(folder, sealed=True)),
        ("dataset", "run.json", show_words),
        ("model", "training.json", read_training),
        ("model", "finetuning.json", read_finetuning),
        ("model", "pruning.json", lambda folder: read_pruning(folder, REQUEST)),
    ],
)
def test_a_flipped_bit_of_a_file_that_we_wrote_is_noticed(request, folder, name, read):
    folder = request.getfixturevalue(folder)
    content = (folder / name).read_bytes()
    bits = range(8 * len(content))
    for bit in random.Random(name).sample(bits, min(len(bits), 3 * CASES)):
        bad = bytearray(content)
        bad[bit // 8] ^= 1 << bit % 8
        assert put(folder, name, bytes(bad), read) != "read", bit


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "a/b.tfrecord", "..", "a\n.tfrecord", "\x1b.tfrecord", "", ".tfrecord"]
)
def test_a_shard_lies_in_the_folder_of_its_dataset(dataset, path):
    values = json.loads((dataset / "dataset_info.json").read_text())
    del values["sha256"]
    values["shards"][0]["path"] = path
    assert "shard 1, is damaged (the path of a shard is" in put(
        dataset, "dataset_info.json", seal(values).encode(), DatasetInfo.load
    )


@pytest.mark.parametrize(
    "path", ["../a.safetensors", "/etc/passwd", "b/a.safetensors", "a.bin", "a\n.safetensors", ".."]
)
def test_weights_lie_in_the_folder_of_their_index(hugging_face, path):
    index = json.dumps({"weight_map": {"x": path}}).encode()
    said = put(hugging_face, "model.safetensors.index.json", index, read_init_checkpoint)
    assert "expected the name of a .safetensors file in its folder" in said


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"dupe_factor": 10**9}, "dupe_factor is 1000000000; expected 1 to 10,000 copies"),
        ({"max_seq_length": 10**12}, "max_seq_length is 1000000000000; expected 8 to 32768 tokens"),
        ({"cased": "yes"}, "cased is 'yes'"),
        ({"other": 1}, "an unknown member 'other'"),
    ],
)
def test_a_dataset_has_a_configuration_that_generate_would_take(dataset, config, sentence):
    values = json.loads((dataset / "dataset_info.json").read_text())
    del values["sha256"]
    values["config"] |= config
    content = seal(values).encode()
    for read in (DatasetInfo.load, inspect, validate):
        assert sentence in put(dataset, "dataset_info.json", content, read)


def test_a_dataset_that_asks_for_a_million_shards_is_validated_at_once(dataset):
    values = json.loads((dataset / "dataset_info.json").read_text())
    del values["sha256"]
    values["config"] |= {"dupe_factor": 10, "shards_per_copy": 99_999}
    found = []
    put(dataset, "dataset_info.json", seal(values).encode(), lambda folder: found.append(validate(folder)))
    assert "its config asks for 999,99" in str(found[0].problems.named[0])


@pytest.mark.parametrize(
    "shape", [{"num_hidden_layers": 10**6}, {"hidden_size": 10**9}, {"hidden_size": 60_000, "num_attention_heads": 8}]
)
def test_a_model_too_large_for_any_machine_is_refused(hugging_face, shape):
    values = {**json.loads((hugging_face / "config.json").read_text()), **shape}
    assert "expected" in put(
        hugging_face, "config.json", json.dumps(values).encode(), lambda folder: BertConfig.load(folder, 9)
    )


def test_a_damaged_record_of_a_finished_shard_is_forgotten(dataset, tmp_path):
    info = DatasetInfo.load(dataset)
    unfinished = Unfinished(str(dataset))
    unfinished.start({})
    for shard in info.shards:
        unfinished.record(shard, {"train/tokens": 7})
    paths = [Path(unfinished.folder, f"{shard.path}.json") for shard in info.shards]
    content = bytearray(paths[0].read_bytes())
    content[content.index(b": 7") + 2] ^= 1  # a number, which nothing else would notice
    paths[0].write_bytes(content)
    paths[1].write_text(json.dumps({"shard": {"path": "../x"}}))
    try:
        assert unfinished.check() == {shard.path for shard in info.shards[2:]}
    finally:
        unfinished.remove()
