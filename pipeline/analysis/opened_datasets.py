"""Datasets to be looked at: ours by their manifest, and TFRecords that other programs made, as far as they tell.

Those of google-research/bert's `create_pretraining_data.py` have our features; TF Model Garden names two of them
differently. Whoever wrote them, what is read has our names.
"""

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import get_args

import numpy as np

from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import MANIFEST, VOCAB, DatasetInfo, Feature, Split, features
from maskmill.pipeline.instances.token_dataset import TokenDataset, cast
from maskmill.pipeline.records.decoding import Arrays, ExampleDecoder
from maskmill.pipeline.records.examples import decode_example
from maskmill.pipeline.records.parquet_file import read_parquet
from maskmill.pipeline.records.tfrecord import is_tfrecord, read_records
from maskmill.pipeline.storage.storage import exists, find_files, read_bytes, size_of, version_of
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import MASK, Vocab

BATCH_EXAMPLES = 4096
FIRST_RECORDS = 256  # what is not known of TFRecords of others is told by these
OTHER_NAMES = {"input_ids": "input_word_ids", "segment_ids": "input_type_ids"}  # TF Model Garden's


@dataclass(frozen=True)
class OpenedShard:
    """A file of a dataset; of tokens, a copy that is drawn from one."""

    path: str  # whole: to be opened
    name: str  # relative to the dataset
    split: Split  # "train" where it is not known
    bytes: int  # of the file as it lies there; of one that copies are drawn from, the part of each
    examples: int | None = None  # as the manifest says; None where it does not
    copy: int | None = None
    pool: int | None = None


@dataclass(frozen=True)
class OpenedDataset:
    """What is known of a dataset before it is read. Can be sent to other processes."""

    directory: str  # as it was given: a folder, or a file or pattern of others' TFRecords
    dataset: Dataset | None  # None: TFRecords without a manifest
    shards: tuple[OpenedShard, ...]  # at least one
    vocab: Vocab | None  # None where nothing says it
    mask_id: int  # of [MASK]; without a vocabulary, what most often stands at masked positions
    objective: str  # "nsp" or "mlm" where there is no manifest
    max_seq_length: int
    max_predictions_per_seq: int
    stored_names: dict[str, str]  # our names of features -> those in the files
    versions: dict[str, str] = field(default_factory=dict)  # of TFRecords without a manifest, by path, see `version_of`

    @property
    def info(self) -> DatasetInfo | None:
        """The manifest; None where there is none."""
        return self.dataset.info if self.dataset else None

    @property
    def features(self) -> list[Feature]:
        """The features of an example, by our names."""
        return features(self.max_seq_length, self.max_predictions_per_seq)

    def shards_of(self, split: Split) -> list[OpenedShard]:
        """The shards of a split, in reading order."""
        return [shard for shard in self.shards if shard.split == split]

    def read_batches(self, shard: OpenedShard, size: int = BATCH_EXAMPLES) -> Iterator[Arrays]:
        """The examples of a shard in order, at most `size` at a time, by our names of features.

        Yields:
            For each feature its values, int32 or float32 [at most size, feature.length]; no empty batch.

        Raises:
            InputError: naming the shard and the record that is damaged, or is no example of this dataset; and when the
                dataset changed since it was opened.
        """
        with self.unchanged():
            if self.dataset is None or self.dataset.info.format == "tfrecord":
                yield from self._read_records(shard, size)
            elif self.dataset.info.format == "parquet":
                version = self.dataset.versions.get(shard.name)
                yield from read_parquet(shard.path, self.features, size, version)
            else:
                yield from self._draw(self.dataset, shard, size)

    def read_places(self, shard: OpenedShard, places: Sequence[int]) -> Iterator[tuple[int, Arrays]]:
        """Some examples of a shard, one at a time, by their places from 0 on, ascending. Reads no more than it must."""
        wanted = set(places)
        if self.dataset is None or self.dataset.info.format == "tfrecord":
            for place, record in enumerate(islice(self.read_records(shard), max(wanted) + 1)):
                if place in wanted:
                    yield place, self.decode([record], shard, place)
            return
        first = 0
        for arrays in self.read_batches(shard):
            for place in range(first, first := first + len(arrays["input_ids"])):
                if place in wanted:
                    row = place - first
                    yield place, {name: values[row:][:1] for name, values in arrays.items()}
            if first > max(wanted):
                return

    def _draw(self, dataset: Dataset, shard: OpenedShard, size: int) -> Iterator[Arrays]:
        """A copy of a pool, at most `size` examples at a time."""
        (pool,) = (one for one in dataset.info.shards if (one.split, one.pool) == (shard.split, shard.pool))
        for columns in TokenDataset(dataset, self.vocab).draw(pool, shard.copy or 0):
            arrays = cast(columns)
            for start in range(0, len(arrays["input_ids"]), size):
                yield {name: values[start : start + size] for name, values in arrays.items()}

    def _read_records(self, shard: OpenedShard, size: int) -> Iterator[Arrays]:
        decoder, before = self._decoder(), 0
        records = self.read_records(shard)
        while some := list(islice(records, size)):
            yield self._decode(decoder, some, shard, before)
            before += len(some)

    def read_records(self, shard: OpenedShard) -> Iterator[bytes]:
        """The records of a shard in order. Raises InputError where one is damaged."""
        return read_records(shard.path, self.versions.get(shard.path))

    def unchanged(self) -> AbstractContextManager[None]:
        """Within it, the dataset is read. Raises InputError at its end when the dataset is no longer the one opened."""
        return self.dataset.unchanged() if self.dataset else nullcontext()

    def decode(self, records: Sequence[bytes], shard: OpenedShard, before: int = 0) -> Arrays:
        """The examples of some records of a shard, the first of which has so many before it. As `read_batches`."""
        return self._decode(self._decoder(), records, shard, before)

    def _decoder(self) -> ExampleDecoder:
        return ExampleDecoder(Feature(self.stored_names[one.name], one.dtype, one.length) for one in self.features)

    def _decode(self, decoder: ExampleDecoder, records: Sequence[bytes], shard: OpenedShard, before: int) -> Arrays:
        decoded = decoder.decode(records, lambda row: f"{shard.path}, record {before + row + 1}")
        return {ours: decoded[name] for ours, name in self.stored_names.items()}


def open_dataset(directory: str | os.PathLike[str], vocab_file: str | None = None) -> OpenedDataset:
    """Finds out what a dataset is. Of ours only the manifest and the vocabulary are read, of others a few records.

    Args:
        directory: a folder with a manifest; or a folder, a file or a pattern of TFRecords. Here or in Cloud Storage.
        vocab_file: the vocabulary. Default: the `vocab.txt` beside the shards, if there is one.

    Raises:
        InputError: when there is no dataset, the vocabulary cannot be read or is not the manifest's, or the TFRecords
            have other features than BERT's pre-training data.
    """
    name = os.fspath(directory)
    if not exists(os.path.join(name, MANIFEST)):
        return _open_others(name, vocab_file)
    dataset, vocab = Dataset.open(name), _load_vocab(vocab_file or os.path.join(name, VOCAB))
    if vocab.sha256 != dataset.info.vocab_sha256:
        raise InputError(
            f"{vocab.name} has sha256 {vocab.sha256[:12]}..., {MANIFEST} of {name} says "
            f"{dataset.info.vocab_sha256[:12]}...",
            way_out="give the vocabulary that the dataset was made with",
        )
    return open_ours(dataset, vocab)


def open_ours(dataset: Dataset, vocab: Vocab | None) -> OpenedDataset:
    """A dataset of ours by its manifest. Without a vocabulary, as after damage, `mask_id` is told by records."""
    info = dataset.info
    opened = OpenedDataset(
        directory=dataset.directory,
        dataset=dataset,
        shards=tuple(_list_copies(dataset) if info.format == "tokens" else _list_files(dataset)),
        vocab=vocab,
        mask_id=vocab.ids[MASK] if vocab else 0,
        objective=info.objective,
        max_seq_length=info.max_seq_length,
        max_predictions_per_seq=info.max_predictions_per_seq,
        stored_names={feature.name: feature.name for feature in info.features},
    )
    return opened if vocab else replace(opened, mask_id=_find_mask_id(_read_first(opened)))


def _list_files(dataset: Dataset) -> Iterator[OpenedShard]:
    for shard in dataset.info.shards:
        yield OpenedShard(
            path=dataset.path_of(shard),
            name=shard.path,
            split=shard.split,
            bytes=shard.bytes,
            examples=shard.examples,
            copy=shard.copy,
            pool=shard.pool,
        )


def _list_copies(dataset: Dataset) -> Iterator[OpenedShard]:
    """The copies that a dataset of tokens asks for, in the order in which records of them would be read."""
    for split in get_args(Split):
        copies = dataset.info.copies_of_pass if split == "train" else 1
        for copy in range(copies):
            for shard in dataset.info.shards_of(split):
                yield OpenedShard(
                    path=dataset.path_of(shard),
                    name=f"{shard.path}, copy {copy}" if split == "train" else shard.path,
                    split=split,
                    bytes=shard.bytes // copies,
                    examples=None if copy else shard.examples,
                    copy=copy,
                    pool=shard.pool,
                )


def _open_others(name: str, vocab_file: str | None) -> OpenedDataset:
    files = find_files(name)
    paths = sorted(path for path in files if "tfrecord" in os.path.basename(path) or is_tfrecord(path))
    if not paths:
        raise InputError(
            f"{name} is no dataset: it has no {MANIFEST} (written last), and no TFRecords either",
            way_out="make one with 'maskmill generate'",
        )
    is_folder = paths[0].startswith(f"{name.rstrip('/')}/")
    folder = name.rstrip("/") if is_folder else os.path.dirname(paths[0])
    beside = os.path.join(folder, VOCAB)
    vocab = _load_vocab(vocab_file or beside) if vocab_file or exists(beside) else None
    path, record = _first_record(name, paths)
    example = decode_example(record)
    stored_names = {one.name: _find_name(one.name, example, path) for one in features(1, 1)}
    opened = OpenedDataset(
        directory=name,
        dataset=None,
        shards=tuple(OpenedShard(path, path.removeprefix(f"{folder}/"), "train", size_of(path)) for path in paths),
        vocab=vocab,
        mask_id=vocab.ids[MASK] if vocab else 0,
        objective="nsp",
        max_seq_length=len(example[stored_names["input_ids"]]),
        max_predictions_per_seq=len(example[stored_names["masked_lm_positions"]]),
        stored_names=stored_names,
        versions={path: version_of(path) for path in paths},
    )
    arrays = _read_first(opened)
    has_pairs = bool(arrays["segment_ids"].any() or arrays["next_sentence_labels"].any())
    mask_id = opened.mask_id if vocab else _find_mask_id(arrays)
    return replace(opened, mask_id=mask_id, objective="nsp" if has_pairs else "mlm")


def _first_record(name: str, paths: Iterable[str]) -> tuple[str, bytes]:
    for path in paths:
        for record in read_records(path):
            return path, record
    raise InputError(f"{name} holds TFRecord files without a record", way_out="give the files that hold the examples")


def _read_first(opened: OpenedDataset) -> Arrays:
    """Some examples: the first of the first shard that has any. Raises InputError where none has."""
    for shard in opened.shards:
        for arrays in opened.read_batches(shard, FIRST_RECORDS):
            return arrays
    raise InputError("holds no example", way_out="generate it from more documents", path=opened.directory)


def _find_mask_id(arrays: Arrays) -> int:
    """The id that stands most often at masked positions, which is that of `[MASK]` in four of five."""
    rows, places = np.nonzero(arrays["masked_lm_weights"])
    positions = np.minimum(arrays["masked_lm_positions"][rows, places], arrays["input_ids"].shape[1] - 1).astype(int)
    shown = arrays["input_ids"][rows, positions]
    ids, counts = np.unique(shown, return_counts=True)
    return int(ids[counts.argmax()]) if len(ids) else 0


def _find_name(name: str, first: Container[str], path: str) -> str:
    """What a feature is called in a record. Raises InputError where it has none of its names."""
    for candidate in filter(None, (name, OTHER_NAMES.get(name))):
        if candidate in first:
            return candidate
    raise InputError(
        f"{path}, record 1 has no {name}",
        expected="the features that google-research/bert's create_pretraining_data.py writes, or TF Model Garden's",
    )


def _load_vocab(path: str) -> Vocab:
    return Vocab.parse(read_bytes(path), path)
