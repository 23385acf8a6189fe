"""What a dataset is: its features, and its manifest."""

import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from maskmill.pipeline.dataset.config import Compression, Format, InstanceConfig
from maskmill.pipeline.storage.storage import (
    AnyPath,
    current_version,
    read_at_most,
    write_text,
)
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import (
    FORMAT_VERSION,
    NOT_SEALED,
    SEAL,
    VERSION,
    brief,
    is_sealed,
    make,
    parse_object,
    require_types,
    seal,
)

MANIFEST = "dataset_info.json"
VOCAB = "vocab.txt"
RUN = "run.json"  # about the run that made a dataset; no part of it
MAX_MANIFEST = 512 << 20  # bytes; a million shards take half of them
MAX_VOCAB = 10_000_000  # tokens
MOST_EXAMPLES_A_BYTE = 65  # the frame of a record has 16 bytes, and gzip makes of a thousand bytes one at the best

Split = Literal["train", "eval"]
SHARD_PREFIX: dict[Split, str] = {"train": "instances", "eval": "eval"}
POOL_PREFIX: dict[Split, str] = {"train": "tokens", "eval": "eval-tokens"}
_SUFFIX = r"\.(tfrecord(\.gz)?|parquet|safetensors)"
SHARD_NAME = re.compile(rf"({'|'.join([*SHARD_PREFIX.values(), *POOL_PREFIX.values()])})-\d+-of-\d+{_SUFFIX}", re.ASCII)
# In every config; older maskmills did not write all others.
_NEEDED = ("max_seq_length", "max_predictions_per_seq", "cased")
_FILE_NAME = re.compile(rf"\w[\w.-]*{_SUFFIX}", re.ASCII)
_LENGTH = re.compile(r"[1-9]\d{0,5}", re.ASCII)


def shard_name(
    split: Split, index: int, of: int, compression: Compression = "none", format: Format = "tfrecord"
) -> str:
    """The file name of a shard.

    >>> shard_name("train", 3, 40, "gzip"), shard_name("eval", 0, 2, format="tokens")
    ('instances-00003-of-00040.tfrecord.gz', 'eval-tokens-00000-of-00002.safetensors')
    """
    if format == "tokens":
        return f"{POOL_PREFIX[split]}-{index:05d}-of-{of:05d}.safetensors"
    suffix = ".parquet" if format == "parquet" else ".tfrecord.gz" if compression == "gzip" else ".tfrecord"
    return f"{SHARD_PREFIX[split]}-{index:05d}-of-{of:05d}{suffix}"


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
    """One file of a dataset: the instances of one pool in one copy, or with format tokens the pool itself."""

    path: str  # relative to the dataset
    split: Split
    copy: int
    pool: int
    examples: int  # with format tokens those of copy 0
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not _FILE_NAME.fullmatch(self.path):  # in the folder of the dataset, whoever wrote the manifest
            expected = shard_name("train", 0, 1)
            raise InputError(f"the path of a shard is {brief(self.path)}", expected=f"a name such as {expected}")
        for name in ("copy", "pool", "examples", "bytes"):
            if not 0 <= getattr(self, name) < 1 << 63:
                raise InputError(f"{name} of {self.path} is {brief(getattr(self, name))}", expected="0 or more")
        if self.examples > MOST_EXAMPLES_A_BYTE * self.bytes:
            raise InputError(
                f"has {self.examples:,} examples in {self.bytes:,} bytes, which is impossible", path=self.path
            )


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

    @classmethod
    def load(cls, directory: AnyPath, sealed: bool = False) -> "DatasetInfo":
        """Reads a dataset's manifest. Raises InputError when there is none, or none that this version can read.

        `sealed`: nor one that fails its own checksum, for who relies on it; who looks at a dataset can take any.
        """
        content, _ = read_manifest(directory)
        return cls.parse(content, os.path.join(directory, MANIFEST), sealed)

    @classmethod
    def parse(cls, content: bytes, path: str, sealed: bool = False) -> "DatasetInfo":
        """The manifest in a file's content. Raises InputError, which names `path`, where `load` does."""
        way_out = "restore it, or generate the dataset again"
        values = parse_object(content, path, way_out, MAX_MANIFEST)
        if (format_version := values.get(VERSION)) != FORMAT_VERSION:
            raise InputError(
                f"has {VERSION} {brief(format_version)}, this maskmill reads {FORMAT_VERSION}",
                way_out="use the maskmill that wrote it, or generate the dataset again",
                path=path,
            )
        if sealed and not is_sealed(content):
            raise InputError(f"{NOT_SEALED}", way_out=f"{way_out}", path=path)
        values.pop(SEAL, None)
        if isinstance(values.get("shards"), list):
            values["shards"] = [
                make(ShardInfo, shard, f"{path}, shard {number},", way_out)
                for number, shard in enumerate(values["shards"], 1)
            ]
        info = make(cls, values, path, way_out)
        make(InstanceConfig, info.config, path, way_out)
        require_types(info.config, dict.fromkeys(_NEEDED, Any), path, way_out)
        if wrong := next(info._wrong_counts(), None):
            raise InputError(f"is damaged ({wrong})", way_out=f"{way_out}", path=path)
        return info

    def save(self, directory: AnyPath) -> None:
        """Writes the manifest, whole or not at all."""
        write_text(os.path.join(directory, MANIFEST), seal(self.to_values()))

    def to_values(self) -> dict[str, Any]:
        """What the file holds, for JSON."""
        return asdict(self)

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
    def format(self) -> str:
        """What the shards are, see `Format`."""
        return str(self.config.get("format", "tfrecord"))

    @property
    def features(self) -> list[Feature]:
        """The features of an example of this dataset."""
        return features(self.max_seq_length, self.max_predictions_per_seq)

    @property
    def copies_of_pass(self) -> int:
        """How often training on it once goes through the examples of its shards: as many copies as it asks for."""
        return int(self.config["dupe_factor"]) if self.format == "tokens" else 1

    def shards_of(self, split: Split) -> list[ShardInfo]:
        """The shards of a split in reading order: copy by copy, pool by pool."""
        return [shard for shard in self.shards if shard.split == split]

    def examples_of(self, split: Split) -> int:
        """The number of examples in a split; with format tokens, in copy 0 of it."""
        return sum(shard.examples for shard in self.shards_of(split))

    def _wrong_counts(self) -> Iterator[str]:
        """What no dataset can have."""
        if not 0 < self.vocab_size <= MAX_VOCAB:
            yield f"vocab_size is {self.vocab_size}; expected 1 to {MAX_VOCAB:,}"
        for section, counts in self.counts.items():
            for name, number in counts.items():
                if not 0 <= number < 1 << 63:
                    yield f"{section}/{brief(name)} is {brief(number)}; expected 0 or more"
                if section.endswith("_lengths") and not _LENGTH.fullmatch(name):
                    yield f"{section} counts examples of {brief(name)} tokens; expected a whole number"


def read_manifest(directory: AnyPath) -> tuple[bytes, str]:
    """The content of the manifest in a folder, and its version from before it was read, see `current_version`.

    Raises InputError when there is none, or a larger one than any dataset has.
    """
    path = os.path.join(directory, MANIFEST)
    version = current_version(path)
    if version is None:
        raise InputError(
            f"is no dataset: it has no {MANIFEST} (written last)",
            way_out="make one with 'maskmill generate'",
            path=directory,
        )
    return read_at_most(path, MAX_MANIFEST), version
