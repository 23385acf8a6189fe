"""Of docs/data_format.md: that the data is as it says, and that its Python reads it."""

import json
import re

import numpy as np
import pytest
from command import SMALL, run
from documentation import blocks, read_page

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import MANIFEST, VOCAB, DatasetInfo, features
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.tfrecord import read_records

PAGE = read_page("data_format.md")
TENSORFLOW, NUMPY, NUMPY_ALONE, TORCH, DATASETS, _ = blocks(PAGE, "python")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, corpus_file, small_vocab_file):
    """Where the dataset `shards` lies."""
    folder = tmp_path_factory.mktemp("data_format")
    lines = [json.dumps({"text": text}) for text in corpus_file.read_text().split("\n\n")]
    (folder / "corpus.jsonl").write_text("\n".join([*lines, "{broken"]))
    options = ["--vocab-file", small_vocab_file, "--output", folder / "shards", *SMALL, "--shards-per-copy", 2]
    filters = ["--max-rejected", 0.1, "--eval-fraction", 0.2, "--min-document-tokens", 9]
    run("generate", folder / "corpus.jsonl", *options, *filters)
    return folder


@pytest.fixture(scope="module")
def info(folder):
    return DatasetInfo.load(folder / "shards")


@pytest.fixture(scope="module")
def expected(folder, info):
    """All training examples, shard by shard, as the trainer decodes them."""
    decoder = ExampleDecoder(info.features)
    shards = [list(read_records(folder / "shards" / shard.path)) for shard in info.shards_of("train")]
    return [decoder.decode(records) for records in shards]


def run_code(code, folder, monkeypatch):
    """The names that a block of the page leaves behind, run where the dataset is."""
    monkeypatch.chdir(folder)
    values: dict[str, object] = {}
    exec(code, values)
    return values


def table_after(heading):
    """The rows of the first table below a heading, each as its cells."""
    _, _, rest = PAGE.partition(heading)
    rows = re.search(r"(?:^\|.*\n)+", rest, re.MULTILINE)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def names_in(cells):
    """What stands in backquotes there."""
    return {name for cell in cells for name in re.findall(r"`([^`]*)`", cell)}


def test_every_feature_is_described_with_its_dtype_and_length():
    said = {name.strip("`"): what for name, what, _ in table_after("\n## An example")}
    lengths = {128: "max_seq_length", 20: "max_predictions_per_seq", 1: "1"}
    is_so = {one.name: f"{one.dtype.removesuffix('32')}, {lengths[one.length]}" for one in features(128, 20)}
    assert said == is_so


def test_its_example_is_one_that_generate_could_make():
    (example,) = re.findall(r"```\n(the cat.*?)```", PAGE, re.DOTALL)
    rows = {name: values for name, *values in map(str.split, example.splitlines()[1:])}
    ids, mask, segments = rows["input_ids"], rows["input_mask"], rows["segment_ids"]
    assert len(ids) == len(mask) == len(segments) == 16
    assert mask == ["0" if token == "[PAD]" else "1" for token in ids]
    first_sep = ids.index("[SEP]")
    assert segments == ["1" if place > first_sep and mask[place] == "1" else "0" for place in range(16)]
    places = [int(place) for place in rows["masked_lm_positions"]]
    assert rows["masked_lm_weights"] == ["1.0" if place else "0.0" for place in places]
    assert len([place for place in places if place]) == round(mask.count("1") * 0.25)
    whole = dict(enumerate(ids)) | {place: word for place, word in zip(places, rows["masked_lm_ids"]) if place}
    assert "the cat sat . [SEP] it slept [SEP]" in " ".join(whole.values())


def test_every_file_is_listed(folder):
    patterns = [re.sub(r"\d{5}", r"\\d{5}", name) for row in table_after("# The dataset") for name in names_in(row[:1])]
    written = {path.name for path in (folder / "shards").iterdir()}
    assert {MANIFEST, VOCAB, "run.json", "rejected-00000.jsonl"} < written
    assert [name for name in written if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []


def test_every_field_of_the_manifest_is_described(folder, info):
    manifest = json.loads((folder / "shards" / MANIFEST).read_text())
    fields = table_after("## The manifest")
    assert names_in(row[0] for row in fields) == set(manifest)
    (of_shards,) = [what for name, what in fields if name == "`shards`"]
    assert set(manifest["shards"][0]) <= names_in([of_shards])


def test_every_option_in_the_manifest_is_described():
    rows = PAGE.partition("| `config` | is |")[2].partition("\n\n")[0].splitlines()[2:]
    assert names_in(row.split(" | ")[0] for row in rows) == set(InstanceConfig.__dataclass_fields__)


def test_every_count_in_the_manifest_is_described(info):
    rows = PAGE.partition("| `counts` | numbers |")[2].partition("\n\n")[0]
    named = names_in([rows])
    assert {"set_aside", "filtered", "train", "eval", "train_lengths"} <= set(info.counts)  # else the test sees little
    assert set(info.counts) <= named
    for section in ("documents", "train", "eval"):
        assert set(info.counts[section]) <= named


def test_tensorflow_reads_it(folder, expected, monkeypatch):
    batch = run_code(TENSORFLOW, folder, monkeypatch)["batch"]
    known = {row.tobytes() for arrays in expected for row in arrays["input_ids"].astype(np.int64)}
    assert {row.tobytes() for row in batch["input_ids"].numpy()} <= known
    assert batch["masked_lm_weights"].shape == (32, 5)


def test_numpy_reads_it(folder, expected, monkeypatch):
    arrays = run_code(NUMPY, folder, monkeypatch)["arrays"]
    for name, values in expected[-1].items():
        np.testing.assert_array_equal(arrays[name], values)


def test_numpy_alone_reads_it(folder, info, expected, monkeypatch):
    read_examples = run_code(NUMPY_ALONE, folder, monkeypatch)["read_examples"]
    for shard, arrays in zip(info.shards_of("train"), expected):
        examples = list(read_examples(folder / "shards" / shard.path))
        for name, values in arrays.items():
            read = np.array([example[name] for example in examples])
            np.testing.assert_array_equal(read, values)
            assert read.dtype == (np.float32 if name == "masked_lm_weights" else np.int64)


def test_numpy_alone_reads_integers_of_any_size(monkeypatch, tmp_path):
    varints = run_code(NUMPY_ALONE, tmp_path, monkeypatch)["varints"]
    numbers = [0, 127, 128, 30521, 1 << 14, (1 << 35) - 1, 1]
    packed = bytearray()
    for number in numbers:
        while number > 127:
            packed.append(number & 127 | 128)
            number >>= 7
        packed.append(number)
    assert varints(bytes(packed)).tolist() == numbers


@pytest.mark.parametrize("code", [TORCH, DATASETS])
def test_what_needs_other_packages_is_python(code):  # tests/hf/test_readers.py runs it
    compile(code, "docs/data_format.md", "exec")
    assert "from shards_reader import read_examples" in code
