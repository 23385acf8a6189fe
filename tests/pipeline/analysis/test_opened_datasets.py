"""Any dataset is opened: ours, and TFRecords of others, whose features get our names."""

import numpy as np
import pytest
from cloud import emulator
from command import SMALL, run
from google.cloud.storage import Client
from look import MODEL_GARDEN, random_examples, serialise, write_shard

from maskmill.pipeline.analysis.collecting_stats import measure_dataset
from maskmill.pipeline.analysis.opened_datasets import open_dataset
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.records.examples import decode_example
from maskmill.pipeline.records.tfrecord import read_records, write_records
from maskmill.pipeline.storage.store import CLOUD
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import MASK


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, corpus_file, small_vocab_file):
    folder = tmp_path_factory.mktemp("opening") / "shards"
    run("generate", corpus_file, "--vocab-file", small_vocab_file, "--output", folder, *SMALL, "--eval-fraction", 0.2,
        "--shards-per-copy", 2)  # fmt: skip
    return folder


def read_all(opened, size):
    """Each shard's examples, read in batches of a size: by feature, all rows of all shards."""
    batches = [batch for shard in opened.shards for batch in opened.read_batches(shard, size)]
    assert all(0 < len(batch["input_ids"]) <= size for batch in batches)
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_the_examples_of_a_dataset_are_those_of_the_readable_decoder(dataset, size):
    opened = open_dataset(dataset)
    records = [decode_example(record) for shard in opened.shards for record in read_records(shard.path)]
    for name, values in read_all(opened, size).items():
        assert values.tolist() == [record[name] for record in records]


def test_the_manifest_says_what_a_dataset_of_ours_is(dataset, small_vocab):
    opened, info = open_dataset(dataset), DatasetInfo.load(dataset)
    assert opened.info == info
    assert (opened.max_seq_length, opened.max_predictions_per_seq, opened.objective) == (32, 5, "nsp")
    assert opened.vocab.tokens == small_vocab.tokens
    assert opened.mask_id == small_vocab.ids[MASK]
    assert [
        (shard.name, shard.split, shard.examples, shard.bytes, shard.copy, shard.pool) for shard in opened.shards
    ] == [(shard.path, shard.split, shard.examples, shard.bytes, shard.copy, shard.pool) for shard in info.shards]
    assert {shard.split for shard in opened.shards_of("eval")} == {"eval"}


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("names", [{}, MODEL_GARDEN])
def test_tfrecords_of_others_are_opened_by_their_folder_a_pattern_or_one_file(tmp_path, names, compress):
    arrays = [random_examples(seed, 40) for seed in (1, 2)]
    for number, part in enumerate(arrays):
        write_shard(tmp_path / f"tf_examples.tfrecord-{number}", part, names, compress)
    (tmp_path / "README").write_text("not a shard")
    for given in (tmp_path, tmp_path / "tf_examples.tfrecord-*"):
        opened = open_dataset(given)
        assert [shard.name for shard in opened.shards] == ["tf_examples.tfrecord-0", "tf_examples.tfrecord-1"]
        for name, values in read_all(opened, 33).items():
            np.testing.assert_array_equal(values, np.concatenate([part[name] for part in arrays]))
    one = open_dataset(tmp_path / "tf_examples.tfrecord-1")
    np.testing.assert_array_equal(read_all(one, 33)["input_ids"], arrays[1]["input_ids"])
    assert (one.info, one.vocab, one.objective) == (None, None, "nsp")
    assert (one.max_seq_length, one.max_predictions_per_seq, one.mask_id) == (24, 4, 4)


def test_a_vocabulary_is_that_of_the_option_or_the_one_beside_the_shards(tmp_path, small_vocab, small_vocab_file):
    write_shard(tmp_path / "a.tfrecord", random_examples(1, 9))
    assert open_dataset(tmp_path, str(small_vocab_file)).vocab.tokens == small_vocab.tokens
    (tmp_path / "vocab.txt").write_text(small_vocab.to_text())
    for given in (tmp_path, tmp_path / "a.tfrecord"):
        assert open_dataset(given).vocab.tokens == small_vocab.tokens


def test_examples_without_pairs_are_told_by_their_segments(tmp_path):
    arrays = random_examples(1, 9)
    arrays["segment_ids"][:] = arrays["next_sentence_labels"][:] = 0
    write_shard(tmp_path / "a.tfrecord", arrays)
    assert open_dataset(tmp_path).objective == "mlm"


def refusal(call, *arguments):
    with pytest.raises(InputError) as refused:
        call(*arguments)
    return str(refused.value)


def test_what_is_no_dataset_is_refused_in_one_sentence(tmp_path, dataset, small_vocab):
    assert "it has no dataset_info.json (written last), and no TFRecords either" in refusal(open_dataset, tmp_path)
    assert "no TFRecords either" in refusal(open_dataset, tmp_path / "absent")
    (tmp_path / "a.tfrecord").write_bytes(b"")
    assert "TFRecord files without a record" in refusal(open_dataset, tmp_path)
    arrays = random_examples(1, 9)
    write_shard(tmp_path / "a.tfrecord", {name: values for name, values in arrays.items() if name != "masked_lm_ids"})
    assert "a.tfrecord, record 1 has no masked_lm_ids; expected" in refusal(open_dataset, tmp_path)
    (tmp_path / "a.tfrecord").write_text("This is not a TFRecord file.")
    assert "a.tfrecord, record 1: " in refusal(open_dataset, tmp_path)
    (tmp_path / "other.txt").write_text(small_vocab.to_text() + "more\n")
    assert "give the vocabulary that the dataset was made with" in refusal(
        open_dataset, dataset, str(tmp_path / "other.txt")
    )


def test_a_damaged_record_is_named_by_its_shard_and_number(tmp_path):
    arrays = random_examples(1, 50)
    write_shard(tmp_path / "a.tfrecord", arrays)
    records = [*serialise(arrays), *serialise({**arrays, "masked_lm_ids": arrays["masked_lm_ids"][:, :3]})]
    write_records(tmp_path / "b.tfrecord", [records])
    opened = open_dataset(tmp_path)
    said = refusal(measure_dataset, opened)
    assert said.startswith(f"{tmp_path}/b.tfrecord, record 51: masked_lm_ids has 3 values, expected 4")
    assert refusal(measure_dataset, opened, 2) == said


def test_stats_of_a_dataset_do_not_depend_on_the_workers_and_agree_with_its_manifest(dataset):
    opened, info = open_dataset(dataset), DatasetInfo.load(dataset)
    here, elsewhere = measure_dataset(opened, 1), measure_dataset(opened, 2)
    assert here.shards == elsewhere.shards
    assert [summary.examples for summary in here.shards] == [shard.examples for shard in info.shards]
    for split, stats in here.stats.items():
        assert stats.to_values() == elsewhere.stats[split].to_values()
        counts = info.counts[split]
        assert (stats.examples, stats.tokens, stats.masked) == (
            counts["instances"], counts["instance_tokens"], counts["masked_tokens"]
        )  # fmt: skip
        assert stats.kinds.tolist() == [counts[f"masked_as_{kind}"] for kind in ("mask", "same", "random")]
        assert stats.labels[1] == counts["random_next"]
        assert (
            stats.labels.tolist() == np.sum([one.labels for one in here.shards if one.shard.split == split], 0).tolist()
        )


def test_datasets_in_cloud_storage_are_opened_alike(tmp_path, monkeypatch, dataset):
    write_shard(tmp_path / "a.tfrecord", random_examples(1, 9), MODEL_GARDEN)
    with emulator() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        CLOUD.forget()  # of another test's emulator
        bucket = Client().bucket("opening")
        bucket.create()
        for path in [*dataset.iterdir(), tmp_path / "a.tfrecord"]:
            if path.is_file():
                bucket.blob(f"{path.parent.name}/{path.name}").upload_from_filename(path)
        ours = open_dataset("gs://opening/shards")
        assert ours.info == DatasetInfo.load(dataset)
        assert measure_dataset(ours, 1).stats["train"].examples == ours.info.examples_of("train")
        for name in ("", "/a.tfrecord", "/*.tfrecord"):
            others = open_dataset(f"gs://opening/{tmp_path.name}{name}")
            assert [shard.name for shard in others.shards] == ["a.tfrecord"]
            np.testing.assert_array_equal(read_all(others, 4)["input_ids"], random_examples(1, 9)["input_ids"])
