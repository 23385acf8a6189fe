"""A dataset as it was made is as it must be; every damage to it is found, and named by shard and record."""

import dataclasses
import hashlib
import json
import random
import shutil

import numpy as np
import pytest
from damage import (
    change_manifest,
    change_vocab,
    make_dataset,
    read_shard,
    rewrite_shard,
    said,
    validate,
)

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import MANIFEST, DatasetInfo
from maskmill.pipeline.records.examples import ExampleEncoder
from maskmill.pipeline.records.tfrecord import write_records
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import seal

CONFIG = InstanceConfig(
    max_seq_length=32, max_predictions_per_seq=5, dupe_factor=2, shards_per_copy=2, eval_fraction=0.2
)
FIRST, SECOND, EVAL = (
    "instances-00000-of-00004.tfrecord",
    "instances-00001-of-00004.tfrecord",
    "eval-00000-of-00001.tfrecord",
)
KINDS = {
    "nsp": {},
    "sop": {"objective": "sop"},
    "mlm": {"objective": "mlm"},
    "whole words": {"whole_word_mask": True, "masked_lm_prob": 0.3},
    "gzip": {"compression": "gzip"},
    "no random next": {"max_document_tokens": 40, "shards_per_copy": 1, "eval_fraction": 0.0},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, corpus_lines, small_vocab):
    """A dataset of four shards to train on and one to evaluate on, not to be changed."""
    return make_dataset(tmp_path_factory.mktemp("made") / "out", corpus_lines, CONFIG, small_vocab)


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "out")


def the_problem(folder) -> str:
    """What is said of a dataset that has one problem."""
    (problem,) = said(validate(folder))
    return problem


@pytest.mark.parametrize("kind", KINDS)
def test_what_generate_makes_is_as_it_must_be(tmp_path, corpus_lines, small_vocab, kind):
    folder = make_dataset(tmp_path / "out", corpus_lines, dataclasses.replace(CONFIG, **KINDS[kind]), small_vocab)
    found = validate(folder)
    assert said(found) == []
    info = DatasetInfo.load(folder)
    assert found.examples == sum(shard.examples for shard in info.shards) > 100
    assert found.bytes == sum(shard.bytes for shard in info.shards)
    assert found.counts["train/masked_tokens"] == info.counts["train"]["masked_tokens"]


def test_a_shard_without_examples_is_as_it_must_be(tmp_path, corpus_lines, small_vocab):
    config = dataclasses.replace(CONFIG, shards_per_copy=40)
    folder = make_dataset(tmp_path / "out", corpus_lines[:20], config, small_vocab)
    assert any(shard.examples == 0 for shard in DatasetInfo.load(folder).shards)
    assert said(validate(folder)) == []


def test_worker_processes_find_the_same(folder):
    rewrite_shard(folder, 1, mask_cls)
    rewrite_shard(folder, 3, mask_cls)
    one, two = validate(folder), validate(folder, num_workers=2)
    assert dataclasses.asdict(one) == dataclasses.asdict(two)
    assert len(said(one)) == 2


# Bits, files and checksums.


def test_every_flipped_bit_is_found(made, tmp_path):
    """In every file: shards, vocabulary, manifest, run.json and the list of what was rejected."""
    origin = shutil.copytree(made, tmp_path / "origin")
    rejected = json.dumps({"file": "corpus.jsonl", "place": 3, "reason": "malformed JSON", "excerpt": "{broken"})
    (origin / "rejected-00000.jsonl").write_text(rejected)
    digest = hashlib.sha256(rejected.encode()).hexdigest()
    (origin / "run.json").write_text(seal({"inputs": ["corpus"], "rejected": {"rejected-00000.jsonl": digest}}))
    assert said(validate(origin)) == []
    rng = random.Random(1)
    for path in sorted(origin.iterdir()):
        content = path.read_bytes()
        for _ in range(6 if path.suffix == ".tfrecord" else 12):
            place, bit = rng.randrange(len(content)), rng.randrange(8)
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                found = said(validate(origin))
            except InputError as error:  # a manifest that cannot be made sense of
                found = [str(error)]
                assert path.name == MANIFEST
            assert any(path.name in problem for problem in found), (path.name, place, bit, found)
            if path.suffix == ".tfrecord":
                assert any(f"{path.name}, record " in problem for problem in found), (path.name, place, bit, found)
                assert any("sha256" in problem for problem in found)
        path.write_bytes(content)


def test_every_flipped_bit_of_a_gzip_shard_is_found(tmp_path, corpus_lines, small_vocab):
    config = dataclasses.replace(CONFIG, compression="gzip")
    folder = make_dataset(tmp_path / "out", corpus_lines, config, small_vocab)
    path = folder / f"{FIRST}.gz"
    content, rng = path.read_bytes(), random.Random(2)
    named = 0
    for _ in range(12):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        found = said(validate(folder))
        assert any(problem.startswith(f"{path.name}: it has sha256") for problem in found)
        named += any(problem.startswith(f"{path.name}, record ") for problem in found)
    assert named > 8  # a few bits of the head of a gzip file change no record


def test_after_a_damaged_record_the_others_are_read_and_judged(folder):
    records = len(read_shard(folder, 0)[1]["input_ids"])
    rewrite_shard(folder, 0, lambda arrays: mask_cls(arrays, row=9))
    content = bytearray((folder / FIRST).read_bytes())
    content[100] ^= 1
    (folder / FIRST).write_bytes(content)
    found = validate(folder)
    checksum, damaged, masked = said(found)
    assert checksum.startswith(f"{FIRST}: it has sha256")
    assert damaged == f"{FIRST}, record 1: fails its checksum"
    assert masked.startswith(f"{FIRST}, record 10: input_ids[0] is 4 ([MASK]); expected: [CLS] opens")
    assert found.examples == sum(shard.examples for shard in DatasetInfo.load(folder).shards) >= records


def test_a_cut_file_is_found(folder):
    content = (folder / FIRST).read_bytes()
    (folder / FIRST).write_bytes(content[:-10])
    shard, _ = read_shard(folder, 1)
    assert shard.path == SECOND
    size, sha256, record = said(validate(folder))
    assert f"{FIRST}: it has {len(content) - 10:,} bytes, dataset_info.json says {len(content):,}" == size
    assert f"{FIRST}: it has sha256" in sha256
    last = DatasetInfo.load(folder).shards[0].examples
    assert record == f"{FIRST}, record {last}: truncated, and what follows cannot be read"


def test_a_cut_gzip_file_is_found(tmp_path, corpus_lines, small_vocab):
    config = dataclasses.replace(CONFIG, compression="gzip")
    folder = make_dataset(tmp_path / "out", corpus_lines, config, small_vocab)
    path = folder / f"{FIRST}.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    found = said(validate(folder))
    assert any(problem.startswith(f"{path.name}, record ") and "truncated" in problem for problem in found)


def test_swapped_shards_are_found(folder):
    (folder / FIRST).rename(folder / "other")
    (folder / SECOND).rename(folder / FIRST)
    (folder / "other").rename(folder / SECOND)
    found = said(validate(folder))
    for one, other in ((FIRST, SECOND), (SECOND, FIRST)):
        assert any(f"{one}: it has sha256" in says and f"says of {other}: swapped" in says for says in found)


def test_an_extra_file_and_a_missing_one_are_found(folder):
    (folder / SECOND).rename(folder / "instances-00007-of-00008.tfrecord")
    (folder / ".DS_Store").write_text("a file of the system is no matter")
    assert said(validate(folder)) == [
        f"{SECOND}: it is missing, but dataset_info.json lists it",
        "instances-00007-of-00008.tfrecord: dataset_info.json does not list it, "
        "but a program that reads all shards would read it",
    ]


@pytest.mark.parametrize("name", ["vocab.txt", EVAL])
def test_a_missing_file_does_not_keep_the_others_from_being_read(folder, name):
    (folder / name).unlink()
    rewrite_shard(folder, 0, lambda arrays: arrays["input_mask"].__setitem__((2, 1), 0))
    found = validate(folder)
    missing, broken = said(found)
    assert missing == f"{name}: it is missing, but dataset_info.json lists it"
    assert broken.startswith(f"{FIRST}, record 3: input_mask[1] is 0; expected: It is 1 at the tokens")
    assert any("Without the vocabulary" in note for note in found.notes) == (name == "vocab.txt")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda values: values["counts"]["train"].update(tokens=1), None),  # which nothing else tells
        (lambda values: values["shards"].pop(), f"it lacks {EVAL}"),
        (
            lambda values: values["shards"].append(values["shards"][0]),
            f"it lists {FIRST} (split train, copy 0, pool 0) 2",
        ),
        (lambda values: values["shards"][0].update(copy=1), f"it lists {FIRST} (split train, copy 1, pool 0), which"),
    ],
)
def test_a_changed_manifest_is_found(folder, change, says):
    values = json.loads((folder / MANIFEST).read_text())
    change(values)
    (folder / MANIFEST).write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    assert f"{MANIFEST}: it fails its own checksum" in said(validate(folder))[0]
    change_manifest(folder, lambda values: None)  # with a checksum that fits
    found = said(validate(folder))
    assert any(says in problem for problem in found) if says else not found


def test_what_is_no_manifest_is_refused(folder):
    change_manifest(folder, lambda values: values["config"].update(max_seq_length=4))
    with pytest.raises(InputError, match=r"dataset_info\.json is damaged \(max_seq_length is 4"):
        validate(folder)


def test_counts_that_are_not_those_of_the_shards_are_found(folder):
    counts = DatasetInfo.load(folder).counts["train"]
    change_manifest(folder, lambda values: values["counts"]["train"].update(random_next=1))
    assert the_problem(folder) == (
        f"{MANIFEST}: its train/random_next is 1, but {counts['random_next']:,} were counted"
    )


@pytest.mark.parametrize("objective", ["sop", "mlm"])
def test_where_each_token_is_used_once_their_number_is_proved(tmp_path, corpus_lines, small_vocab, objective):
    config = dataclasses.replace(CONFIG, objective=objective)
    folder = make_dataset(tmp_path / "out", corpus_lines, config, small_vocab)
    tokens = DatasetInfo.load(folder).counts["train"]["tokens"]
    change_manifest(folder, lambda values: values["counts"]["train"].update(tokens=tokens + 1))
    assert f"its train/tokens make {2 * tokens + 2:,} in all copies, but the shards hold {2 * tokens:,}" in the_problem(
        folder
    )


def test_records_that_the_manifest_does_not_count_are_found(folder):
    rewrite_shard(folder, 0, lambda arrays: {name: array[:-1] for name, array in arrays.items()})
    examples = DatasetInfo.load(folder).shards[0].examples
    change_manifest(folder, lambda values: values["shards"][0].update(examples=examples + 1))
    assert f"{FIRST}: it has {examples} examples, dataset_info.json says {examples + 1}" in said(validate(folder))


# Vocabularies.


def test_another_vocabulary_is_found(folder, small_vocab):
    (folder / "vocab.txt").write_text(small_vocab.to_text() + "more\n")
    found = validate(folder)
    assert "vocab.txt: it has sha256" in said(found)[0]
    assert "another vocabulary" in said(found)[0]
    assert len(said(found)) == 1


def test_another_vocabulary_is_found_even_if_the_manifest_names_it(folder, small_vocab):
    special, tokens = small_vocab.tokens[:5], small_vocab.tokens[5:]
    change_vocab(folder, "".join(f"{token}\n" for token in [*special, *reversed(tokens)]))
    found = validate(folder)
    assert found.problems.counts["pieces_continue_words"] > 20
    assert any(f"{FIRST}, record " in says and "A ## piece continues a word" in says for says in said(found))


def test_text_that_the_vocabulary_cannot_have_made_is_found(folder, small_vocab):
    change_vocab(folder, small_vocab.to_text().replace("cat\n", "Cat\n"))
    found = validate(folder)
    assert any("(Cat); expected: Between [CLS] and [SEP] stands what text can become" in says for says in said(found))


# Examples.


def mask_cls(arrays, row=4):
    arrays["input_ids"][row, 0] = 4


def test_a_masked_cls_is_found(folder):
    rewrite_shard(folder, 0, mask_cls)
    assert the_problem(folder) == f"{FIRST}, record 5: input_ids[0] is 4 ([MASK]); expected: [CLS] opens the example"


def test_a_cls_to_be_predicted_is_found(folder):
    def predict_cls(arrays):
        arrays["masked_lm_positions"][6, 0], arrays["masked_lm_ids"][6, 0] = 0, 2
        arrays["input_ids"][6, 0] = 4

    rewrite_shard(folder, 0, predict_cls)
    assert the_problem(folder).startswith(f"{FIRST}, record 7: masked_lm_positions[0] is 0; expected: Positions ascend")


def test_a_label_out_of_place_is_found(folder):
    def move(arrays):
        """The label of a masked token to another place, so that [MASK] stands where nothing is predicted."""
        row = int(np.argmax(arrays["input_ids"][:, 3] == 4))
        place = int(np.argmax(arrays["masked_lm_positions"][row] == 3))
        arrays["masked_lm_positions"][row, place] = 2 if 2 not in arrays["masked_lm_positions"][row] else 1
        rows.append(row)

    rows: list[int] = []
    rewrite_shard(folder, 1, move)
    assert the_problem(folder).startswith(
        f"{SECOND}, record {rows[0] + 1}: input_ids[3] is 4 ([MASK]); expected: Between"
    )


def test_a_next_sentence_label_that_is_none_is_found(folder):
    rewrite_shard(folder, 4, lambda arrays: arrays["next_sentence_labels"].__setitem__((1, 0), 2))
    assert (
        the_problem(folder)
        == f"{EVAL}, record 2: next_sentence_labels[0] is 2; expected: It is 0 or 1, and 0 where there is no B"
    )


def test_other_features_are_found(folder):
    shard, arrays = read_shard(folder, 0)
    features = DatasetInfo.load(folder).features
    records = ExampleEncoder(features).encode(arrays)
    wrong = ExampleEncoder([one for one in features if one.name != "segment_ids"]).encode(arrays)
    written = write_records(folder / shard.path, [[*records[:3], wrong[3], b"no example", *records[5:]]])
    change_manifest(folder, lambda values: values["shards"][0].update(bytes=written.bytes, sha256=written.sha256))
    assert said(validate(folder)) == [
        f"{FIRST}, record 4: has no segment_ids",
        f"{FIRST}, record 5: no tf.train.Example",
    ]


def test_many_problems_of_a_kind_are_counted_and_the_first_are_named(folder):
    def mask_all(arrays):
        arrays["input_ids"][:, 0] = 4

    rewrite_shard(folder, 0, mask_all)
    rewrite_shard(folder, 1, mask_all)
    found = validate(folder)
    shards = DatasetInfo.load(folder).shards
    assert found.problems.counts == {"cls_opens": shards[0].examples + shards[1].examples}
    assert [problem.record for problem in found.problems.named] == list(range(1, 21))
