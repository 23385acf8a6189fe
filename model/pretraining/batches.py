"""The shards of a dataset -> batches of features, in an order that is a function of seed and epoch alone.

Two threads work ahead of the device: one reads records and checks them, the other decodes those that are next.
"""

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import numpy as np

from maskmill.model.training.ahead import make_ahead
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import MANIFEST, DatasetInfo, ShardInfo, Split
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.tfrecord import read_records
from maskmill.tokenizer.errors import InputError

# Records shuffled at a time: enough to mix the documents of a pool. Two windows are held, the one that is trained on
# and the next: 14 MB each at 128 tokens, 45 MB at 512.
SHUFFLE_WINDOW = 1 << 14
DECODED_ROWS = 1 << 10  # at a time; a batch alone is too small to be fast
BATCHES_AHEAD = 8

NO_PAIR = -1  # the label of an example that is no pair: the next-sentence loss leaves it out

Features = dict[str, np.ndarray]  # by name, [batch, length], int32 and float32
# Serialised examples in the order of the batches, and the place of each in the order of reading, counted from the first
# epoch on: what an error is named by.
Examples = tuple[np.ndarray, list[bytes]]


def train_batches(
    dataset: Dataset,
    batch_size: int,
    random_seed: int,
    start_step: int = 0,
    host: int = 0,
    num_hosts: int = 1,
) -> Generator[Features, None, None]:
    """Batches of the train split for ever, from those of step `start_step` on.

    An epoch holds every example once, copy by copy; the shards of a copy are in random order, and the records are
    shuffled in windows. A batch may reach into the next epoch, so none is smaller and no example is left out.

    Of every batch, a host gets its rows: host h of H those from h * batch_size / H on, batch_size / H of them. So all
    hosts together get what one would. Each reads and checks every record, which takes 2 to 4 microseconds of one core,
    and decodes its own.

    Raises InputError when the split is empty, the batch cannot be divided among the hosts, or a record is damaged.
    """
    require_examples(dataset, "train")
    rows = _rows_of(batch_size, host, num_hosts)

    def name_of(place: int) -> str:
        return _name_place(dataset, random_seed, place)

    examples = _shuffled_examples(dataset, random_seed, start_step * batch_size)
    yield from make_ahead(_batches(examples, dataset.info, batch_size, rows, name_of), BATCHES_AHEAD)


def eval_batches(
    dataset: Dataset,
    batch_size: int,
    split: Split,
    host: int = 0,
    num_hosts: int = 1,
) -> Generator[Features, None, None]:
    """Batches of a split, every example once in the order of the shards; the last is filled up with rows of zeros.

    Hosts get their rows, and errors are raised, as by `train_batches`.
    """
    require_examples(dataset, split)
    rows = _rows_of(batch_size, host, num_hosts)
    shards = dataset.info.shards_of(split)
    examples = make_ahead(_examples_in_order(_records(dataset, shards)), 1)
    batches = _batches(examples, dataset.info, batch_size, rows, lambda place: _name_record(dataset, shards, place))
    yield from make_ahead(batches, BATCHES_AHEAD)


def require_examples(dataset: Dataset, split: Split, batch_size: int | None = None) -> None:
    """Raises InputError when a split is empty, or has not the examples of one batch."""
    if examples := dataset.info.examples_of(split):
        if batch_size and examples < batch_size:
            raise InputError(
                f"has {examples:,} examples, train_batch_size is {batch_size:,}",
                expected=f"{examples:,} or less, or more documents",
                path=dataset.directory,
            )
        return
    if split == "eval":
        raise InputError(
            "has no eval split",
            way_out="generate it with --eval-fraction 0.05, or evaluate with --split train",
            path=dataset.directory,
        )
    raise InputError("has no examples to train on", way_out="generate it from more documents", path=dataset.directory)


def shards_of_epoch(info: DatasetInfo, random_seed: int, epoch: int) -> list[ShardInfo]:
    """The train shards in the order of an epoch: the copies in turn, each with its pools shuffled."""
    order = []
    for copy, shards in itertools.groupby(info.shards_of("train"), key=lambda shard: shard.copy):
        pools = list(shards)
        permutation = np.random.default_rng([random_seed, epoch, 0, copy]).permutation(len(pools))
        order += [pools[i] for i in permutation]
    return order


def name_examples(dataset: Dataset, batch_size: int, random_seed: int, step: int) -> list[str]:
    """What errors call the examples of the batch of a step: their shards, and their numbers there from 1 on."""
    names: list[str] = []
    with closing(_shuffled_examples(dataset, random_seed, step * batch_size)) as examples:
        for places, _ in examples:
            names += [_name_place(dataset, random_seed, place) for place in places[: batch_size - len(names)]]
            if len(names) == batch_size:
                break
    return names


def _rows_of(batch_size: int, host: int, num_hosts: int) -> range:
    """The rows of every batch that a host gets."""
    assert 0 <= host < num_hosts
    if batch_size % num_hosts:
        raise InputError(
            f"batch_size {batch_size} cannot be divided among {num_hosts} hosts", expected=f"a multiple of {num_hosts}"
        )
    size = batch_size // num_hosts
    return range(host * size, (host + 1) * size)


def _batches(
    examples: Generator[Examples, None, None],
    info: DatasetInfo,
    batch_size: int,
    rows: range,
    name_of: Callable[[int], str],
) -> Generator[Features, None, None]:
    """Some rows of every batch; rows of zeros fill up the last one where the examples end."""
    decoder = ExampleDecoder(info.features)
    has_pairs = info.objective != "mlm"
    rows_at_a_time = len(rows) * max(1, DECODED_ROWS // len(rows))
    waiting: list[tuple[int, bytes]] = []  # for the rest of their batch
    seen = batches = 0

    def decode(some: list[tuple[int, bytes]]) -> Features:
        features = decoder.decode([record for _, record in some], lambda row: name_of(some[row][0]))
        if not has_pairs:
            features["next_sentence_labels"][:] = NO_PAIR
        return features

    with closing(examples):
        for places, records in examples:
            row = (seen + np.arange(len(records))) % batch_size
            own = np.flatnonzero((row >= rows.start) & (row < rows.stop))
            waiting += zip(places[own].tolist(), [records[i] for i in own.tolist()])
            seen += len(records)
            whole = len(waiting) - len(waiting) % len(rows)
            for start in range(0, whole, rows_at_a_time):
                decoded = decode(waiting[start : min(start + rows_at_a_time, whole)])
                for i in range(0, len(decoded["input_ids"]), len(rows)):
                    yield {name: values[i : i + len(rows)] for name, values in decoded.items()}
                    batches += 1
            del waiting[:whole]
    if batches * batch_size < seen:
        missing = len(rows) - len(waiting)
        yield {name: np.pad(values, ((0, missing), (0, 0))) for name, values in decode(waiting).items()}


def _shuffled_examples(dataset: Dataset, random_seed: int, start: int) -> Generator[Examples, None, None]:
    """Examples for ever, from the `start`-th on, in windows."""
    size = dataset.info.examples_of("train")
    skip = start % size % SHUFFLE_WINDOW
    with closing(make_ahead(_windows(dataset, random_seed, start), 1)) as windows:
        for epoch, window, records in windows:
            order = np.random.default_rng([random_seed, epoch, 1, window]).permutation(len(records))[skip:]
            yield epoch * size + window * SHUFFLE_WINDOW + order, [records[i] for i in order.tolist()]
            skip = 0


def _windows(dataset: Dataset, random_seed: int, start: int) -> Generator[tuple[int, int, list[bytes]], None, None]:
    """Epoch, number of the window in it, and its records, for ever, from the window with the `start`-th example on."""
    first_epoch, skip = divmod(start, dataset.info.examples_of("train"))
    first_window = skip // SHUFFLE_WINDOW
    for epoch in itertools.count(first_epoch):
        shards = shards_of_epoch(dataset.info, random_seed, epoch)
        records = _records(dataset, shards, first_window * SHUFFLE_WINDOW)
        for window in itertools.count(first_window):
            if not (some := list(itertools.islice(records, SHUFFLE_WINDOW))):
                break
            yield epoch, window, some
        first_window = 0


def _examples_in_order(records: Iterator[bytes]) -> Generator[Examples, None, None]:
    for first in itertools.count(0, SHUFFLE_WINDOW):
        if not (some := list(itertools.islice(records, SHUFFLE_WINDOW))):
            return
        yield first + np.arange(len(some)), some


def _records(dataset: Dataset, shards: list[ShardInfo], skip: int = 0) -> Iterator[bytes]:
    """The records of the shards in turn, without the first `skip`; whole shards are skipped unread.

    Raises InputError when a record is damaged, a shard has not as many as the manifest says, or the dataset is no
    longer the one whose files were checked.
    """
    for shard in shards:
        if skip >= shard.examples:
            skip -= shard.examples
            continue
        path, found = dataset.path_of(shard), 0
        with dataset.unchanged():
            for found, record in enumerate(read_records(path, dataset.versions.get(shard.path)), start=1):
                if found > skip:
                    yield record
            if found != shard.examples:
                raise InputError(
                    f"has {found} records, {MANIFEST} says {shard.examples}",
                    way_out="restore the file, or generate the dataset again with --overwrite",
                    path=path,
                )
        skip = 0


def _name_place(dataset: Dataset, random_seed: int, place: int) -> str:
    """What an error calls the record at a place in the order of reading, counted from the first epoch on."""
    epoch, place_in_epoch = divmod(place, dataset.info.examples_of("train"))
    return _name_record(dataset, shards_of_epoch(dataset.info, random_seed, epoch), place_in_epoch)


def _name_record(dataset: Dataset, shards: list[ShardInfo], place: int) -> str:
    """What an error calls the record at a place in the shards."""
    for shard in shards:
        if place < shard.examples:
            break
        place -= shard.examples
    return f"{dataset.path_of(shard)}, record {place + 1}"
