"""The examples of a dataset -> batches of features.

Two threads work ahead of the device: one reads examples and checks them, or draws them, the other decodes those that
are next.
"""

from collections.abc import Generator
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from maskmill.model.pretraining.examples import Bookmarks, Features, Window, training_windows, windows_in_order
from maskmill.model.training.prefetch import make_ahead
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo, Split
from maskmill.pipeline.records.decoding import dtype_of
from maskmill.tokenizer.errors import InputError

DECODED_ROWS = 1 << 10  # at a time; a batch alone is too small to be fast
BATCHES_AHEAD = 8

NO_PAIR = -1  # the label of an example that is no pair: the next-sentence loss leaves it out

Windows = Generator[tuple[Window, NDArray[np.int64]], None, None]  # each with the places of its examples in their order


def train_batches(
    dataset: Dataset,
    batch_size: int,
    random_seed: int,
    start_step: int = 0,
    host: int = 0,
    num_hosts: int = 1,
    bookmarks: Bookmarks | None = None,
) -> Generator[Features, None, None]:
    """Batches of the train split for ever, from those of step `start_step` on, in the order of `examples.py`.

    A batch may reach into the next epoch, so none is smaller and no example is left out.

    Of every batch, a host gets its rows: host h of H those from h * batch_size / H on, batch_size / H of them. So all
    hosts together get what one would. Each reads and checks every record, which takes 2 to 4 microseconds of one core,
    and decodes its own; of a dataset of tokens each draws every example, which takes 3 to 4.

    `bookmarks` are those of `training_windows`. Raises InputError when the split is empty, the batch cannot be divided
    among the hosts, or a record is damaged.
    """
    require_examples(dataset, "train")
    rows = _rows_of(batch_size, host, num_hosts)
    windows = training_windows(dataset, random_seed, start_step * batch_size, bookmarks)
    yield from make_ahead(_batches(windows, dataset.info, batch_size, rows), BATCHES_AHEAD)


def eval_batches(
    dataset: Dataset,
    batch_size: int,
    split: Split,
    host: int = 0,
    num_hosts: int = 1,
) -> Generator[Features, None, None]:
    """Batches of a split, every example once in the order of the shards; the last is filled up with rows of zeros.

    Hosts get their rows, and errors are raised, as by `train_batches`. Of a dataset of tokens it is copy 0.
    """
    require_examples(dataset, split)
    rows = _rows_of(batch_size, host, num_hosts)
    yield from make_ahead(_batches(windows_in_order(dataset, split), dataset.info, batch_size, rows), BATCHES_AHEAD)


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


def name_examples(
    dataset: Dataset, batch_size: int, random_seed: int, step: int, bookmarks: Bookmarks | None = None
) -> list[str]:
    """What errors call the examples of the batch of a step: their shards, and their numbers there from 1 on."""
    names: list[str] = []
    with closing(training_windows(dataset, random_seed, step * batch_size, bookmarks)) as windows:
        for window, order in windows:
            names += [window.name_of(place) for place in order[: batch_size - len(names)].tolist()]
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


def _batches(windows: Windows, info: DatasetInfo, batch_size: int, rows: range) -> Generator[Features, None, None]:
    """Some rows of every batch; rows of zeros fill up the last one where the examples end."""
    waiting = {feature.name: np.zeros((0, feature.length), dtype_of(feature)) for feature in info.features}
    seen = batches = 0
    with closing(windows):
        for window, order in windows:
            row = (seen + np.arange(len(order))) % batch_size
            own = order[(row >= rows.start) & (row < rows.stop)]
            seen += len(order)
            for start in range(0, len(own), DECODED_ROWS):
                taken = window.take(own[start : start + DECODED_ROWS])
                if info.objective == "mlm":
                    taken["next_sentence_labels"][:] = NO_PAIR
                waiting = {name: np.concatenate([values, taken[name]]) for name, values in waiting.items()}
                whole = len(waiting["input_ids"]) // len(rows) * len(rows)
                for i in range(0, whole, len(rows)):
                    yield {name: values[i : i + len(rows)] for name, values in waiting.items()}
                    batches += 1
                waiting = {name: values[whole:] for name, values in waiting.items()}
    if batches * batch_size < seen:
        missing = len(rows) - len(waiting["input_ids"])
        yield {name: np.pad(values, ((0, missing), (0, 0))) for name, values in waiting.items()}
