"""One shard: its bytes, its records, and each of its examples put to the rules."""

import hashlib
import io
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import compress, islice
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.length_bins import count_lengths
from maskmill.pipeline.dataset.schema import MANIFEST, ShardInfo, features
from maskmill.pipeline.instances.copies import CopyDrawer
from maskmill.pipeline.instances.pool_file import read_pool
from maskmill.pipeline.instances.token_dataset import cast
from maskmill.pipeline.records.decoding import Arrays, ExampleDecoder
from maskmill.pipeline.records.parquet_file import read_parquet
from maskmill.pipeline.records.tfrecord import Damage, scan_records
from maskmill.pipeline.storage.storage import AnyPath, open_file
from maskmill.pipeline.validation.batch import ExampleBatch, Facts
from maskmill.pipeline.validation.problems import NAMED, Problem, Problems
from maskmill.pipeline.validation.repeats import Keys, make_keys, save_keys
from maskmill.pipeline.validation.rules import Rule, find_broken
from maskmill.pipeline.validation.standard import Standard
from maskmill.tokenizer.errors import InputError, RecordError
from maskmill.tokenizer.vocab import UNK

BATCH_RECORDS = 1024  # its arrays stay within the processor's cache
READ_BYTES = 1 << 18


@dataclass
class ShardResult:
    """What was found in a shard."""

    bytes: int = 0
    sha256: str = ""  # empty where the file could not be read
    examples: int = 0
    problems: Problems = field(default_factory=Problems)
    counts: Counter[str] = field(default_factory=Counter)  # of the examples that keep all rules, as in the manifest
    keys: str | None = None  # the file that `save_keys` wrote


def validate_shard(folder: AnyPath, shard: ShardInfo, standard: Standard, keys_path: str) -> ShardResult:
    """Reads a shard once. A file that cannot be read is one of the problems found.

    Args:
        folder: the dataset.
        shard: what the manifest says of it.
        standard: what its examples are held to.
        keys_path: where the keys of its examples are to be written, see `repeats`.
    """
    reading = _Reading(shard, standard)
    result = reading.result
    path = os.path.join(folder, shard.path)
    try:
        match standard.config.format:
            case "tfrecord":
                is_whole = reading.read_records(path)
            case "parquet":
                is_whole = reading.read_columns(path)
            case "tokens":
                is_whole = reading.draw(path)
    except InputError as error:
        reading.found("unreadable", str(error))
        return result
    is_counted = standard.config.format != "tokens" or shard.copy == 0
    if is_whole and is_counted and result.examples != shard.examples:
        reading.found("examples", f"it has {result.examples:,} examples, {MANIFEST} says {shard.examples:,}")
    save_keys(keys_path, reading.keys)
    result.keys = keys_path
    return result


def name_of(shard: ShardInfo, config: InstanceConfig) -> str:
    """What problems call a shard, or a copy that is drawn."""
    return f"{shard.path}, copy {shard.copy}" if config.format == "tokens" else shard.path


class _Reading:
    """The reading of one shard."""

    def __init__(self, shard: ShardInfo, standard: Standard):
        self.shard = shard
        self.name = name_of(shard, standard.config)
        self.standard = standard
        config = standard.config
        self.features = features(config.max_seq_length, config.max_predictions_per_seq)
        self.decoder = ExampleDecoder(self.features)
        self.result = ShardResult()
        self.keys: list[Keys] = []

    def found(self, kind: str, says: str, record: int | None = None) -> None:
        self.result.problems.add(Problem(kind, self.name, says, record))

    def read_columns(self, path: str) -> bool:
        """Reads all rows of a Parquet file -> True: one whose end is missing cannot be read at all."""
        self._digest(path)
        for arrays in read_parquet(path, self.features, BATCH_RECORDS):
            self._examine_next(arrays)
        return True

    def draw(self, path: str) -> bool:
        """Reads a pool, and draws a copy of it -> True: one that does not fit together cannot be read at all."""
        if self.shard.copy == 0:
            self._digest(path)
        pool = read_pool(path, self.shard.sha256)
        vocab, config = self.standard.vocab, self.standard.config
        pool.require_ids_below(self.standard.vocab_size, path)
        if vocab is None:
            self.result.examples = self.shard.examples  # which cannot be drawn
            return True
        drawer = CopyDrawer(vocab, config)
        unpacked = pool.unpack(config, vocab.ids[UNK])
        pairs = drawer.draw_pairs(self.shard.pool, unpacked, self.shard.copy)
        for drawn in drawer.draw_instances(self.shard.pool, unpacked, self.shard.copy, pairs):
            self._examine_next(cast(drawn.features()))
        return True

    def _digest(self, path: str) -> None:
        with open_file(path) as file:
            digested = _Digested(file)
            digested.drain()
        self.result.bytes, self.result.sha256 = digested.size, digested.sha256.hexdigest()

    def _examine_next(self, arrays: Arrays) -> None:
        """Puts the next examples to the rules."""
        numbers = self.result.examples + 1 + np.arange(len(arrays["input_ids"]))
        self.result.examples += len(numbers)
        self.examine(numbers, arrays)

    def read_records(self, path: str) -> bool:
        """Reads all records of a file; returns whether the last one was found."""
        with open_file(path) as file:
            digested = _Digested(file)
            is_whole = self._scan(io.BufferedReader(digested, READ_BYTES))
            digested.drain()
        self.result.bytes, self.result.sha256 = digested.size, digested.sha256.hexdigest()
        return is_whole

    def _scan(self, file: io.BufferedReader) -> bool:
        is_whole = True
        scanned = scan_records(file)
        while records := list(islice(scanned, BATCH_RECORDS)):
            numbers = self.result.examples + 1 + np.arange(len(records))
            self.result.examples += len(records)
            if Damage in set(map(type, records)):
                for number, record in zip(numbers.tolist(), records):
                    if isinstance(record, Damage):
                        is_whole = not record.is_last
                        rest = "" if is_whole else ", and what follows cannot be read"
                        self.found("record", f"{record.what}{rest}", number)
                numbers = numbers[[isinstance(record, bytes) for record in records]]
            self.examine(*self.decode(numbers, [record for record in records if isinstance(record, bytes)]))
        return is_whole

    def decode(self, numbers: NDArray[np.int64], records: list[bytes]) -> tuple[NDArray[np.int64], Arrays]:
        """The examples of records, and the numbers of those."""
        with suppress(RecordError):
            return numbers, self.decoder.decode(records)
        fits = []
        for number, record in zip(numbers.tolist(), records):
            try:
                self.decoder.decode([record])
                fits.append(True)
            except RecordError as error:
                fits.append(False)
                self.found("features", error.problem, number)
        return numbers[fits], self.decoder.decode(list(compress(records, fits)))

    def examine(self, numbers: NDArray[np.int64], arrays: Arrays) -> None:
        """Puts examples, which are the records of these numbers, to the rules; counts those that keep them."""
        batch = ExampleBatch(arrays, self.standard)
        keeps_rules = np.ones(len(batch), np.bool_)
        for rule, rows, broken_batch, broken in find_broken(batch):
            keeps_rules[rows] = False
            for place, row in enumerate(rows[:NAMED].tolist()):
                self.found(rule.name, describe(rule, broken_batch, broken, place), int(numbers[row]))
            self.result.problems.add_unnamed(rule.name, self.name, len(rows) - NAMED)
        if not keeps_rules.all():
            batch = batch.take(keeps_rules)
        self.result.counts.update(count_batch(batch, self.shard.split))
        if self.standard.vocab:
            self.keys.append(make_keys(batch, numbers[keeps_rules]))


class _Digested(io.RawIOBase):
    """A file read from its beginning to its end, and its checksum."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True  # that is, in what is buffered of it

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert (offset, whence) == (self.size, io.SEEK_SET), "it is read from its beginning to its end"
        return offset

    def tell(self) -> int:
        return self.size

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        self.sha256.update(data)
        self.size += len(data)
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        """Reads the file to its end, so that its checksum covers all of it."""
        while self.readinto(bytearray(READ_BYTES)):
            pass


def describe(rule: Rule, batch: ExampleBatch, broken: Facts, row: int) -> str:
    """What breaks a rule in an example, as a clause: the first such element and its value, and what was expected."""
    column = int(broken[row].argmax())
    value = batch.arrays[rule.feature][row, column].item()
    vocab = batch.standard.vocab
    is_token = vocab and rule.feature in ("input_ids", "masked_lm_ids") and value < len(vocab)
    token = f" ({vocab.tokens[value]})" if vocab and is_token else ""
    return f"{rule.feature}[{column}] is {value}{token}; expected: {rule.expected}"


def count_batch(batch: ExampleBatch, split: str) -> Counter[str]:
    """What the manifest counts of examples that keep all rules, by `section/name`."""
    standard = batch.standard
    counts = {
        "instances": len(batch),
        "random_next": int(batch.arrays["next_sentence_labels"].sum()),
        "instance_tokens": int(batch.lengths.sum()),
        "masked_tokens": len(batch.shown),
    }
    if standard.vocab:
        is_mask, is_same = batch.shown == standard.mask_id, batch.shown == batch.labels
        counts["masked_as_mask"] = int(is_mask.sum())
        counts["masked_as_same"] = int((is_same & ~is_mask).sum())
        counts["masked_as_random"] = len(batch.shown) - counts["masked_as_mask"] - counts["masked_as_same"]
    by_length = count_lengths(batch.lengths, standard.config.max_seq_length)
    return Counter(
        {f"{split}/{name}": count for name, count in counts.items()}
        | {f"{split}_lengths/{longest}": count for longest, count in by_length.items()}
    )
