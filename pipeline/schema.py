"""What a dataset is: its features, and its manifest."""

import hashlib
import json
import os
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pipeline.storage import (
    AnyPath,
    current_version,
    is_remote,
    list_names,
    open_file,
    read_bytes,
    size_of,
    version_of,
    write_text,
)  # fmt: skip
from tokenizer.errors import InputError

FORMAT_VERSION = 1
MANIFEST = "dataset_info.json"
VOCAB = "vocab.txt"
RUN = "run.json"  # about the run that made a dataset; no part of it
SEAL = "sha256"  # in a JSON file of ours, the last member: the checksum of the others
NOT_SEALED = "fails its own checksum: it was changed since it was written, or an older maskmill wrote it"

Split = Literal["train", "eval"]
Compression = Literal["none", "gzip"]
SHARD_PREFIX: dict[Split, str] = {"train": "instances", "eval": "eval"}
SHARD_NAME = re.compile(rf"({'|'.join(SHARD_PREFIX.values())})-\d+-of-\d+\.tfrecord(\.gz)?")


def shard_name(split: Split, index: int, of: int, compression: Compression = "none") -> str:
    """The file name of a shard.

    >>> shard_name("train", 3, 40, "gzip")
    'instances-00003-of-00040.tfrecord.gz'
    """
    suffix = ".gz" if compression == "gzip" else ""
    return f"{SHARD_PREFIX[split]}-{index:05d}-of-{of:05d}.tfrecord{suffix}"


@dataclass(frozen=True)
class Feature:
    """One feature of an example: `length` numbers of `dtype`."""

    name: str
    dtype: Literal["int64", "float32"]
    length: int


def features(max_seq_length: int, max_predictions_per_seq: int) -> list[Feature]:
    """The features of a `tf.train.Example`, in the order of their names, which is their order in the bytes.

    Names and meaning are those of google-research/bert's `create_pretraining_data.py`. Padding is 0 everywhere.
    """
    tokens, predictions = max_seq_length, max_predictions_per_seq
    return [
        Feature("input_ids", "int64", tokens),
        Feature("input_mask", "int64", tokens),  # 1 where input_ids holds a token
        Feature("masked_lm_ids", "int64", predictions),  # the original ids
        Feature("masked_lm_positions", "int64", predictions),  # ascending
        Feature("masked_lm_weights", "float32", predictions),  # 1.0 where a position is given
        Feature("next_sentence_labels", "int64", 1),  # 1: B is a random next (sop: A and B swapped), 0: the actual next
        Feature("segment_ids", "int64", tokens),  # 0 up to and with the first [SEP], then 1
    ]


@dataclass(frozen=True)
class ShardInfo:
    """One TFRecord file of a dataset: the instances of one pool in one copy."""

    path: str  # relative to the dataset
    split: Split
    copy: int
    pool: int
    examples: int
    bytes: int
    sha256: str


@dataclass
class Origin:
    """The files of a dataset as they were when they were first read, by which a later change is noticed."""

    sha256: str = ""  # of the manifest; empty where it was not read from a file
    versions: dict[str, str] = field(default_factory=dict)  # of the files that were looked at, see `version_of`


@dataclass(frozen=True)
class DatasetInfo:
    """The manifest, `dataset_info.json`. A folder without it is no dataset.

    A function of the documents, the vocabulary and the configuration, and of nothing else: what concerns the run
    (input paths, times, workers) is in `run.json` beside it.
    """

    config: dict[str, Any]  # InstanceConfig
    vocab_size: int
    vocab_sha256: str
    counts: dict[str, dict[str, int]]  # "documents" and each split -> name -> number
    shards: tuple[ShardInfo, ...]  # by split, copy, pool
    maskmill_version: str
    format_version: int = FORMAT_VERSION
    origin: Origin = field(default_factory=Origin, init=False, compare=False, repr=False)  # not in the file

    @classmethod
    def load(cls, directory: AnyPath, sealed: bool = False) -> "DatasetInfo":
        """Reads a dataset's manifest. Raises InputError when there is none, or none that this version can read.

        `sealed`: nor one that fails its own checksum, for who relies on it; who looks at a dataset can take any.
        """
        path = os.path.join(directory, MANIFEST)
        version = current_version(path)
        if version is None:
            raise InputError(
                f"{directory} is no dataset: it has no {MANIFEST} (written last); make one with 'maskmill generate'"
            )
        content = read_bytes(path)
        try:
            values = json.loads(content)
        except ValueError as error:
            raise InputError(f"{path} cannot be read ({error}); restore it, or generate the dataset again") from error
        format_version = values.get("format_version") if isinstance(values, dict) else None
        if format_version != FORMAT_VERSION:
            raise InputError(
                f"{path} has format_version {format_version}, this maskmill reads {FORMAT_VERSION}; "
                "use the maskmill that wrote it, or generate the dataset again"
            )
        if sealed and not is_sealed(content):
            raise InputError(f"{path} {NOT_SEALED}; restore it, or generate the dataset again")
        values.pop(SEAL, None)
        try:
            values["shards"] = tuple(ShardInfo(**shard) for shard in values["shards"])
            info = cls(**values)
            wrong = [f"{name} is {value!r}" for name, value in info._numbers() if type(value) is not int or value < 0]
        except (AttributeError, KeyError, TypeError) as error:
            wrong = [str(error)]
        if wrong:
            raise InputError(f"{path} is damaged ({wrong[0]}); restore it, or generate the dataset again")
        info.origin.sha256, info.origin.versions[MANIFEST] = hashlib.sha256(content).hexdigest(), version
        return info

    def save(self, directory: AnyPath) -> None:
        """Writes the manifest, whole or not at all."""
        write_text(os.path.join(directory, MANIFEST), seal(self.to_values()))

    def to_values(self) -> dict[str, Any]:
        """What the file holds, for JSON."""
        values = asdict(self)
        del values["origin"]
        return values

    @property
    def max_seq_length(self) -> int:
        """Tokens in an instance, `[CLS]` and `[SEP]` included."""
        return int(self.config["max_seq_length"])

    @property
    def max_predictions_per_seq(self) -> int:
        """Masked positions in an instance, at the most."""
        return int(self.config["max_predictions_per_seq"])

    @property
    def objective(self) -> str:
        """What the pairs are, `nsp` or `sop`, or `mlm` where there are none."""
        return str(self.config.get("objective", "nsp"))

    @property
    def features(self) -> list[Feature]:
        """The features of an example of this dataset."""
        return features(self.max_seq_length, self.max_predictions_per_seq)

    def shards_of(self, split: Split) -> list[ShardInfo]:
        """The shards of a split in reading order: copy by copy, pool by pool."""
        return [shard for shard in self.shards if shard.split == split]

    def examples_of(self, split: Split) -> int:
        """The number of examples in a split."""
        return sum(shard.examples for shard in self.shards_of(split))

    def check_files(self, directory: AnyPath, split: Split | None = None) -> None:
        """Compares the vocabulary and every shard (of a split) with the manifest. Raises InputError where one differs.

        Reads every byte, at the speed of SHA-256 on all cores; of Cloud Storage the sizes alone.
        """
        present = set(list_names(directory))

        def check(file: tuple[str, int | None, str]) -> str | None:
            name = file[0]
            if name in present:
                self.origin.versions[name] = version_of(os.path.join(directory, name))
            return find_damage(directory, present, *file)

        with self.unchanged(directory), ThreadPoolExecutor() as threads:
            for problem in threads.map(check, self._expected_files(split)):
                if problem:
                    raise InputError(f"{problem}; restore the file, or generate the dataset again with --overwrite")

    def require_unchanged(self, directory: AnyPath) -> None:
        """Raises InputError when the folder no longer holds the manifest that was loaded from it. Costs one look-up."""
        path, versions = os.path.join(directory, MANIFEST), self.origin.versions
        if MANIFEST not in versions:
            return  # it was not loaded
        version = current_version(path)
        if version == versions[MANIFEST]:
            return
        if version is None or hashlib.sha256(read_bytes(path)).hexdigest() != self.origin.sha256:
            raise InputError(
                f"the dataset {directory} changed while it was read; run this again when nothing writes to it"
            )
        versions[MANIFEST] = version  # the same content under a new date

    @contextmanager
    def unchanged(self, directory: AnyPath) -> Iterator[None]:
        """Within it, files of the dataset are read. Raises InputError as `require_unchanged` before it ends.

        What cannot be read because the dataset is being replaced is not called damage.
        """
        try:
            yield
        except InputError:
            self.require_unchanged(directory)
            raise
        self.require_unchanged(directory)

    def read_vocab(self, directory: AnyPath) -> bytes:
        """The vocabulary beside the manifest. Raises InputError when it is not the one that the manifest names."""
        path = os.path.join(directory, VOCAB)
        with self.unchanged(directory):
            content = read_bytes(path)
            if (actual := hashlib.sha256(content).hexdigest()) != self.vocab_sha256:
                raise InputError(
                    f"{path} has sha256 {actual[:12]}..., {MANIFEST} says {self.vocab_sha256[:12]}...; restore the "
                    "file, or generate the dataset again"
                )
        return content

    def _numbers(self) -> Iterator[tuple[str, Any]]:
        """What readers count on, by name: whole numbers, unless the manifest is damaged."""
        yield "vocab_size", self.vocab_size
        for name in ("max_seq_length", "max_predictions_per_seq"):
            yield name, self.config[name]
        for counts in self.counts.values():
            yield from counts.items()
        for shard in self.shards:
            for name in ("copy", "pool", "examples", "bytes"):
                yield f"{name} of {shard.path}", getattr(shard, name)

    def _expected_files(self, split: Split | None) -> Iterator[tuple[str, int | None, str]]:
        yield VOCAB, None, self.vocab_sha256
        for shard in self.shards_of(split) if split else self.shards:
            yield shard.path, shard.bytes, shard.sha256


def seal(values: Mapping[str, Any]) -> str:
    """JSON that holds a checksum of itself, by which every change of its bytes is noticed, see `is_sealed`."""
    digest = hashlib.sha256(_to_json(values).encode()).hexdigest()
    return _to_json({**values, SEAL: digest})


def is_sealed(content: bytes) -> bool:
    """Whether JSON is, byte by byte, what `seal` made. Raises ValueError when it is no JSON."""
    values = json.loads(content)
    if not isinstance(values, dict):
        return False
    values.pop(SEAL, None)
    return seal(values).encode() == content


def describe_files(folder: AnyPath, names: Iterable[str]) -> dict[str, str]:
    """The sha256 of each of some files in a folder."""
    return {name: hashlib.sha256(read_bytes(os.path.join(folder, name))).hexdigest() for name in names}


def _to_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def find_damage(folder: AnyPath, present: Container[str], name: str, size: int | None, sha256: str) -> str | None:
    """Compares a file of a dataset with what is known of it: a clause that says what differs, or None.

    `present` are the names of the files in the folder. An object of Cloud Storage has the right bytes if it has the
    right number of them, because none is ever written in part.
    """
    path = os.path.join(folder, name)
    if name not in present:
        return f"{path} is not there"
    actual_size = size_of(path)
    if size is not None and actual_size != size:
        return f"{path} has {actual_size} bytes, {MANIFEST} says {size}"
    if is_remote(path) and size is not None:
        return None
    with open_file(path) as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    if actual != sha256:
        return f"{path} has sha256 {actual[:12]}..., {MANIFEST} says {sha256[:12]}..."
    return None
