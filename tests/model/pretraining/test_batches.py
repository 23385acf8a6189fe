import dataclasses
import threading
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from small_dataset import write_dataset

from maskmill.model.pretraining import batches as batches_of
from maskmill.model.pretraining import examples as examples_of
from maskmill.model.pretraining.batches import eval_batches, name_examples, train_batches
from maskmill.model.pretraining.examples import shards_of_epoch
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.examples import ExampleEncoder
from maskmill.pipeline.records.tfrecord import read_records, write_records
from maskmill.tokenizer.errors import InputError

SIZES = [[6, 5, 7], [4, 6, 2]]
# The first examples of every training that began with seed 1 on SIZES, in windows of 8 and batches of 4: what was
# begun before must go on with the very same batches. Made by tf.data, which read the shards until it was replaced.
GOLDEN_ORDER = [
    [5, 2, 6, 7], [4, 0, 1, 3], [10, 8, 14, 12], [15, 9, 13, 11], [26, 27, 22, 24], [23, 17, 16, 25], [28, 21, 20, 29],
    [18, 19, 12, 16], [14, 15, 13, 0], [17, 11, 8, 2], [7, 6, 3, 5], [1, 4, 10, 27], [25, 23, 9, 24], [22, 26, 29, 28],
    [20, 21, 18, 19], [1, 0, 2, 7],
]  # fmt: skip


def numbers(batches, count):
    return [batch["input_ids"][:, 1].tolist() for _, batch in zip(range(count), batches)]


@pytest.fixture
def small_window(monkeypatch):
    monkeypatch.setattr(examples_of, "SHUFFLE_WINDOW", 8)
    monkeypatch.setattr(batches_of, "DECODED_ROWS", 6)


@pytest.mark.usefixtures("small_window")
def test_the_order_is_that_of_every_training_before(tmp_path):
    dataset = write_dataset(tmp_path, SIZES)
    assert numbers(train_batches(dataset, 4, random_seed=1), len(GOLDEN_ORDER)) == GOLDEN_ORDER


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.usefixtures("small_window")
def test_every_example_comes_once_an_epoch_and_in_another_order_in_the_next(tmp_path, gzip):
    dataset = write_dataset(tmp_path, SIZES, gzip=gzip)
    order = [number for batch in numbers(train_batches(dataset, 5, random_seed=1), 12) for number in batch]
    first, second = order[:30], order[30:]
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second


@pytest.mark.usefixtures("small_window")
def test_the_order_is_a_function_of_the_seed(tmp_path):
    dataset = write_dataset(tmp_path, [[9, 9]])
    one, same, other = (numbers(train_batches(dataset, 4, random_seed=seed), 6) for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.usefixtures("small_window")
def test_batches_from_any_later_step_are_those_of_the_whole_run(tmp_path):
    dataset = write_dataset(tmp_path, SIZES)
    for step in range(len(GOLDEN_ORDER)):
        expected = GOLDEN_ORDER[step:]
        assert numbers(train_batches(dataset, 4, 1, start_step=step), len(expected)) == expected


@pytest.mark.usefixtures("small_window")
def test_shards_before_the_step_are_not_opened(tmp_path, monkeypatch):
    dataset = write_dataset(tmp_path, [[8] * 10])
    opened = []
    monkeypatch.setattr(
        examples_of, "read_records", lambda path, *rest: opened.append(path) or read_records(path, *rest)
    )
    next(train_batches(dataset, 8, random_seed=1, start_step=9))
    opened = [path for path in opened if path.startswith(str(tmp_path))]  # a thread of another test may still read
    assert opened[0].endswith(shards_of_epoch(dataset.info, 1, 0)[9].path)


@pytest.mark.parametrize("num_hosts", [1, 2, 4])
@pytest.mark.usefixtures("small_window")
def test_the_hosts_together_get_the_batches_of_one(tmp_path, num_hosts):
    dataset = write_dataset(tmp_path, SIZES)
    parts = [
        numbers(train_batches(dataset, 4, 1, start_step=3, host=host, num_hosts=num_hosts), 13)
        for host in range(num_hosts)
    ]
    assert [[number for part in step for number in part] for step in zip(*parts)] == GOLDEN_ORDER[3:]


@pytest.mark.parametrize("examples", range(4, 10))
@pytest.mark.parametrize("num_hosts", [2, 4])
def test_the_hosts_evaluate_as_many_batches_each_and_every_example_once(tmp_path, examples, num_hosts):
    dataset = write_dataset(tmp_path, [[examples]], split="eval")
    hosts = [list(eval_batches(dataset, 4, "eval", host, num_hosts)) for host in range(num_hosts)]
    for expected, *parts in zip(eval_batches(dataset, 4, "eval"), *hosts, strict=True):
        for name, values in expected.items():
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), values)


def test_a_host_decodes_its_own_examples_alone(tmp_path, monkeypatch):
    decoded = []
    decode = examples_of.ExampleDecoder.decode
    monkeypatch.setattr(
        examples_of.ExampleDecoder,
        "decode",
        lambda self, records, name_of: decoded.extend(records) or decode(self, records, name_of),
    )
    dataset = write_dataset(tmp_path, [[40]], split="eval")
    list(eval_batches(dataset, 8, "eval", host=1, num_hosts=4))
    assert len(decoded) == 10


def test_a_batch_that_cannot_be_divided_among_the_hosts_is_refused(tmp_path):
    dataset = write_dataset(tmp_path, [[4]])
    with pytest.raises(InputError, match="batch_size 6 cannot be divided among 4 hosts; expected a multiple of 4"):
        next(train_batches(dataset, 6, random_seed=1, num_hosts=4))


def test_copies_come_in_turn_each_with_its_shards_shuffled(tmp_path):
    dataset = write_dataset(tmp_path, [[1] * 8, [1] * 8])
    epochs = [shards_of_epoch(dataset.info, random_seed=1, epoch=epoch) for epoch in range(2)]
    for order in epochs:
        assert [shard.copy for shard in order] == [0] * 8 + [1] * 8
        assert sorted(order, key=lambda shard: (shard.copy, shard.pool)) == list(dataset.info.shards)
    assert len({tuple(shard.pool for shard in half) for order in epochs for half in (order[:8], order[8:])}) == 4


def test_fewer_examples_than_a_batch_are_repeated(tmp_path):
    dataset = write_dataset(tmp_path, [[3]])
    (batch,) = numbers(train_batches(dataset, 8, random_seed=1), 1)
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_the_examples_of_a_step_are_named_by_shard_and_number(tmp_path, small_window):
    dataset = write_dataset(tmp_path, SIZES)
    for step in (0, 3, 7, 9):  # 7 and 9: within and beyond the end of the first epoch
        batch = next(train_batches(dataset, 4, 1, step))
        names = name_examples(dataset, 4, 1, step)
        found = []
        for name in names:
            path, number = name.split(", record ")
            found.append(list(read_records(path))[int(number) - 1])
        features = ExampleDecoder(dataset.info.features).decode(found)
        np.testing.assert_array_equal(features["input_ids"], batch["input_ids"])


def test_examples_without_pairs_have_no_next_sentence_label(tmp_path):
    dataset = write_dataset(tmp_path, [[5]])
    info = dataclasses.replace(dataset.info, config={**dataset.info.config, "objective": "mlm"})
    mlm = dataclasses.replace(dataset, info=info)
    assert (next(train_batches(mlm, 4, 1))["next_sentence_labels"] == -1).all()
    assert (next(eval_batches(mlm, 5, "train"))["next_sentence_labels"] == -1).all()


def test_features_are_int32_and_float32_arrays_of_the_records_shapes(tmp_path):
    dataset = write_dataset(tmp_path, [[4]])
    batch = next(train_batches(dataset, 4, random_seed=1))
    for feature in dataset.info.features:
        assert batch[feature.name].shape == (4, feature.length)
        assert batch[feature.name].dtype == ("float32" if feature.dtype == "float32" else "int32")


@pytest.mark.parametrize("gzip", [False, True])
def test_batches_are_those_of_tf_data(tmp_path, gzip):
    dataset = write_dataset(tmp_path, [[30, 21], [19, 40]], split="eval", gzip=gzip)
    paths = [str(tmp_path / shard.path) for shard in dataset.info.shards]
    spec = {feature.name: tf.io.FixedLenFeature([feature.length], feature.dtype) for feature in dataset.info.features}
    records = tf.data.TFRecordDataset(paths, "GZIP" if gzip else "").batch(11)
    expected = records.map(lambda batch: tf.io.parse_example(batch, spec)).as_numpy_iterator()
    for ours, theirs in zip(eval_batches(dataset, 11, "eval"), expected, strict=True):
        for name, values in ours.items():
            np.testing.assert_array_equal(values, theirs[name])


def test_evaluation_reads_every_example_once_in_order_and_fills_up_with_zeros(tmp_path):
    dataset = write_dataset(tmp_path, [[3, 4]], split="eval")
    batches = list(eval_batches(dataset, 5, "eval"))
    assert [batch["input_ids"][:, 1].tolist() for batch in batches] == [[0, 1, 2, 3, 4], [5, 6, 0, 0, 0]]
    assert all(not values[2:].any() for values in batches[1].values())


def test_a_split_without_examples_is_refused(tmp_path):
    dataset = write_dataset(tmp_path, [[0]])
    with pytest.raises(InputError, match="no examples to train on"):
        next(train_batches(dataset, 2, random_seed=1))
    with pytest.raises(InputError, match=r"no eval split; generate it with --eval-fraction 0\.05"):
        next(eval_batches(dataset, 2, "eval"))


def test_a_damaged_record_ends_the_batches_with_the_readers_sentence(tmp_path):
    dataset = write_dataset(tmp_path, [[30]])
    path = tmp_path / dataset.info.shards[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"train-0-0\.tfrecord, record 1\d: .*; generate the dataset again"):
        numbers(train_batches(dataset, 4, random_seed=1), 8)


@pytest.mark.parametrize("split", ["train", "eval"])
@pytest.mark.usefixtures("small_window")
def test_an_example_that_does_not_fit_is_named_by_its_file_and_place(tmp_path, split):
    dataset = write_dataset(tmp_path, SIZES, split=split)
    path = tmp_path / f"{split}-1-1.tfrecord"
    records = list(read_records(path))
    short = [feature for feature in dataset.info.features if feature.name != "segment_ids"]
    values = {f.name: np.zeros((1, f.length), np.float32 if f.dtype == "float32" else np.int64) for f in short}
    records[3:4] = ExampleEncoder(short).encode(values)
    write_records(path, [records])
    batches = train_batches(dataset, 4, 1, 20) if split == "train" else eval_batches(dataset, 4, "eval")
    sentence = rf"{split}-1-1\.tfrecord, record 4: has no segment_ids; generate the dataset again"
    with pytest.raises(InputError, match=sentence):
        numbers(batches, 30)


@pytest.mark.parametrize("examples", [4, 9])
def test_a_shard_with_more_or_fewer_records_than_the_manifest_says_is_refused(tmp_path, examples):
    dataset = write_dataset(tmp_path, [[5, 6, 5]])
    (tmp_path / "other").mkdir()
    write_dataset(tmp_path / "other", [[5, examples, 5]])
    path = dataset.info.shards[1].path
    (tmp_path / "other" / path).replace(tmp_path / path)
    with pytest.raises(InputError, match=rf"{path} has {examples} records, dataset_info\.json says 6; restore"):
        numbers(train_batches(dataset, 4, random_seed=1), 8)


def test_threads_end_when_the_batches_are_closed(tmp_path):
    dataset = write_dataset(tmp_path, [[40]])
    before = set(threading.enumerate())
    batches = train_batches(dataset, 4, random_seed=1)
    next(batches)
    threads = set(threading.enumerate()) - before
    assert len(threads) == 2
    batches.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.usefixtures("small_window")
def test_little_more_is_read_than_is_asked_for(tmp_path, monkeypatch):
    dataset = write_dataset(tmp_path, [[5] * 80])
    read = Counter()

    def counted(path, version):
        for record in read_records(path, version):
            read["records"] += 1
            yield record

    monkeypatch.setattr(examples_of, "read_records", counted)
    batches = train_batches(dataset, 4, random_seed=1)
    for step in range(1, 60):
        next(batches)
        in_windows, in_batches = 3 * 8, (batches_of.BATCHES_AHEAD + 1) * 4
        assert read["records"] <= 4 * step + in_windows + in_batches + 6
