"""The manifest round-trips, and what does not fit it is refused by name."""

import hashlib
import json
from dataclasses import asdict

import pytest

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo, ShardInfo, features
from maskmill.tokenizer.errors import InputError


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "vocab.txt").write_text("a\n")
    (tmp_path / "instances-0.tfrecord").write_bytes(b"0123456789")
    digest = hashlib.sha256(b"0123456789").hexdigest()
    DatasetInfo(
        config=asdict(InstanceConfig()),
        vocab_size=1,
        vocab_sha256=hashlib.sha256(b"a\n").hexdigest(),
        counts={"train": {"instances": 3}},
        shards=(ShardInfo("instances-0.tfrecord", "train", 0, 0, 3, 10, digest),),
        maskmill_version="0",
    ).save(tmp_path)
    return tmp_path


def test_features_are_in_the_order_of_their_names():
    names = [feature.name for feature in features(128, 20)]
    assert names == sorted(names)
    assert len(names) == 7


def test_a_saved_manifest_loads_as_it_was(dataset):
    info = DatasetInfo.load(dataset)
    assert info.max_seq_length == 128
    assert info.examples_of("train") == 3
    assert info.examples_of("eval") == 0
    before = (dataset / "dataset_info.json").read_bytes()
    info.save(dataset)
    assert (dataset / "dataset_info.json").read_bytes() == before
    Dataset.open(dataset).check_files()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("instances-0.tfrecord", b"012345678", "has 9 bytes, dataset_info.json says 10"),
        ("instances-0.tfrecord", b"0123456780", "has sha256"),
        ("instances-0.tfrecord", None, "instances-0.tfrecord is not there"),
        ("vocab.txt", b"b\n", "vocab.txt has sha256"),
    ],
)
def test_files_that_do_not_fit_are_named(dataset, name, content, sentence):
    (dataset / name).unlink()
    if content is not None:
        (dataset / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        Dataset.open(dataset).check_files()


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"is no dataset: it has no dataset_info\.json"):
            DatasetInfo.load(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text[:50], "is not JSON"),
        (lambda text: "[]", "holds no JSON object"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 99'), "format_version 99"),
        (lambda text: json.dumps(json.loads(text) | {"shards": [{"path": "x"}]}), "is damaged"),
        (lambda text: json.dumps({"format_version": 1}), "is damaged"),
        (lambda text: json.dumps(json.loads(text) | {"config": {}}), r"is damaged \(it has no max_seq_length\)"),
        (lambda text: json.dumps(json.loads(text) | {"config": 3}), "is damaged"),
        (lambda text: json.dumps(json.loads(text) | {"counts": []}), "is damaged"),
        (lambda text: text.replace('"max_seq_length": 128', '"max_seq_length": -8'), "max_seq_length is -8"),
        (lambda text: text.replace('"vocab_size": 1', '"vocab_size": "x"'), "vocab_size is 'x'"),
        (lambda text: text.replace('"examples": 3', '"examples": 3.5'), r"shard 1, is damaged \(examples is 3\.5"),
    ],
)
def test_a_damaged_or_foreign_manifest_is_refused(dataset, change, sentence):
    path = dataset / "dataset_info.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=sentence):
        DatasetInfo.load(dataset)
