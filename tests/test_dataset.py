import pytest
from small_dataset import write_dataset

from model import dataset
from model.dataset import eval_batches, shards_of_epoch, train_batches
from tokenizer.errors import InputError


def numbers(batches, count):
    return [batch["input_ids"][:, 1].tolist() for _, batch in zip(range(count), batches)]


@pytest.fixture
def small_window(monkeypatch):
    monkeypatch.setattr(dataset, "SHUFFLE_WINDOW", 8)


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.usefixtures("small_window")
def test_every_example_comes_once_an_epoch_and_in_another_order_in_the_next(tmp_path, gzip):
    info = write_dataset(tmp_path, [[6, 5, 7], [4, 6, 2]], gzip=gzip)
    order = [number for batch in numbers(train_batches(info, tmp_path, 5, random_seed=1), 12) for number in batch]
    first, second = order[:30], order[30:]
    assert sorted(first) == sorted(second) == list(range(30))
    assert first != second


@pytest.mark.usefixtures("small_window")
def test_the_order_is_a_function_of_the_seed(tmp_path):
    info = write_dataset(tmp_path, [[9, 9]])
    one, same, other = (numbers(train_batches(info, tmp_path, 4, random_seed=seed), 6) for seed in (1, 1, 2))
    assert one == same != other


@pytest.mark.parametrize("start_step", [1, 3, 4, 11])
@pytest.mark.usefixtures("small_window")
def test_batches_from_a_later_step_are_those_of_the_whole_run(tmp_path, start_step):
    info = write_dataset(tmp_path, [[6, 5, 7], [4, 6, 2]])
    whole = numbers(train_batches(info, tmp_path, 4, random_seed=1), 16)
    assert numbers(train_batches(info, tmp_path, 4, 1, start_step), 16 - start_step) == whole[start_step:]


def test_copies_come_in_turn_each_with_its_shards_shuffled(tmp_path):
    info = write_dataset(tmp_path, [[1] * 8, [1] * 8])
    epochs = [shards_of_epoch(info, random_seed=1, epoch=epoch) for epoch in range(2)]
    for order in epochs:
        assert [shard.copy for shard in order] == [0] * 8 + [1] * 8
        assert sorted(order, key=lambda shard: (shard.copy, shard.pool)) == list(info.shards)
    assert len({tuple(shard.pool for shard in half) for order in epochs for half in (order[:8], order[8:])}) == 4


def test_fewer_examples_than_a_batch_are_repeated(tmp_path):
    info = write_dataset(tmp_path, [[3]])
    (batch,) = numbers(train_batches(info, tmp_path, 8, random_seed=1), 1)
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_features_are_int32_and_float32_arrays_of_the_records_shapes(tmp_path):
    info = write_dataset(tmp_path, [[4]])
    batch = next(train_batches(info, tmp_path, 4, random_seed=1))
    for feature in info.features:
        assert batch[feature.name].shape == (4, feature.length)
        assert batch[feature.name].dtype == ("float32" if feature.dtype == "float32" else "int32")


def test_evaluation_reads_every_example_once_in_order_and_fills_up_with_zeros(tmp_path):
    info = write_dataset(tmp_path, [[3, 4]], split="eval")
    batches = list(eval_batches(info, tmp_path, 5, "eval"))
    assert [batch["input_ids"][:, 1].tolist() for batch in batches] == [[0, 1, 2, 3, 4], [5, 6, 0, 0, 0]]
    assert all(not values[2:].any() for values in batches[1].values())


def test_a_split_without_examples_is_refused(tmp_path):
    info = write_dataset(tmp_path, [[0]])
    with pytest.raises(InputError, match="no examples to train on"):
        next(train_batches(info, tmp_path, 2, random_seed=1))
    with pytest.raises(InputError, match=r"no eval split; generate it with --eval-fraction 0\.05"):
        next(eval_batches(info, tmp_path, 2, "eval"))
