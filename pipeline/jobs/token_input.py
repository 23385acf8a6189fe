"""Datasets of tokens as the input of a run: their documents are read and tokenised already."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.outputs import holds_manifest
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.instances.token_dataset import TokenDataset
from maskmill.pipeline.jobs.corpus import CORPUS, OF_READING
from maskmill.pipeline.jobs.estimate import PackedSample
from maskmill.pipeline.reading.sampling import Sample, Window
from maskmill.pipeline.storage.storage import AnyPath
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import Vocab

SAMPLE_BYTES = 1_000_000  # of packed documents that are tried out


@dataclass(frozen=True)
class TokenInput:
    """Datasets of tokens of one vocabulary, one after the other."""

    datasets: Sequence[Dataset]

    @classmethod
    def open(cls, directories: Sequence[AnyPath]) -> "TokenInput":
        """Reads the manifests. Raises InputError where one is of other tokens than the first."""
        datasets = [Dataset.open(directory, sealed=True) for directory in directories]
        first = datasets[0]
        for dataset in datasets:
            if dataset.info.format != "tokens":
                raise InputError(
                    f"is a dataset of format {dataset.info.format}, which is not read again",
                    expected="documents, or a dataset that was made with --format tokens",
                    path=dataset.directory,
                )
            for name in ("cased", "vocab_sha256"):
                ours, theirs = _value(first.info, name), _value(dataset.info, name)
                if ours != theirs:
                    raise InputError(
                        f"has {name} {theirs}, {first.directory} has {ours}",
                        way_out="give datasets of the same tokens",
                        path=dataset.directory,
                    )
        return cls(datasets)

    @cached_property
    def vocab(self) -> Vocab:
        """The vocabulary of all of them."""
        return TokenDataset(self.datasets[0]).vocab

    @property
    def files(self) -> list[str]:
        """The paths of the pool files of all datasets."""
        return [dataset.path_of(shard) for dataset in self.datasets for shard in dataset.info.shards]

    @property
    def sha256s(self) -> list[str]:
        """The checksums of the manifests, which say what all files hold."""
        return [dataset.sha256 for dataset in self.datasets]

    def require_vocab(self, vocab: Vocab) -> None:
        """Raises InputError when the tokens are of another vocabulary."""
        first = self.datasets[0]
        if vocab.sha256 != first.info.vocab_sha256:
            raise InputError(
                f"is not the vocabulary of {first.directory}, whose documents are tokenised already",
                way_out="leave --vocab-file out, or give the documents as INPUT",
                path=vocab.name,
            )

    @property
    def config(self) -> InstanceConfig:
        """The configuration of the first, which is that of instances where nothing else is asked for."""
        return InstanceConfig(**self.datasets[0].info.config)

    @property
    def stored_bytes(self) -> int:
        """The bytes of all pools as they are stored."""
        return sum(shard.bytes for dataset in self.datasets for shard in dataset.info.shards)

    @property
    def corpus(self) -> Counter[str]:
        """What was measured when the documents were read, with the counts of reading."""
        corpus: Counter[str] = Counter()
        for dataset in self.datasets:
            corpus.update(dataset.info.counts[CORPUS])
            for section in OF_READING:
                of_section = dataset.info.counts.get(section, {})
                corpus.update({f"{section}/{name}": n for name, n in of_section.items() if name != "empty"})
        return corpus

    @cached_property
    def sample(self) -> Sample:
        """All of the documents, by the manifests: what a sample of text says of its input."""
        corpus, pool = self.corpus, self._largest_pool
        everything = Window(self.stored_bytes, corpus["documents"], corpus["bytes"])
        read_seconds = pool.read_seconds * self.stored_bytes / max(1, pool.stored_bytes)
        return Sample([], Counter(), [everything], self.stored_bytes, read_seconds)

    @cached_property
    def packed_sample(self) -> PackedSample:
        """Some of the documents of a pool."""
        pool = self._largest_pool
        content_of_pool = self.corpus["bytes"] * pool.stored_bytes / max(1, self.stored_bytes)
        documents, size = [], 0
        for place in np.random.default_rng(0).permutation(len(pool.documents)).tolist():
            documents.append(pool.documents[place])
            size += len(pool.documents[place])
            if size > SAMPLE_BYTES:
                break
        share = size / max(1, sum(map(len, pool.documents)))
        return PackedSample(documents, int(content_of_pool * share), tokenize_seconds=0.0)

    @cached_property
    def _largest_pool(self) -> "_ReadPool":
        pools = [(dataset, shard) for dataset in self.datasets for shard in dataset.info.shards]
        dataset, shard = max(pools, key=lambda pool: pool[1].bytes)
        began = time.process_time()
        documents = list(TokenDataset(dataset, self.vocab).read_packed(shard).documents())
        return _ReadPool(documents, shard.bytes, time.process_time() - began)


@dataclass(frozen=True)
class _ReadPool:
    """The packed documents of a pool, and what it took to read them."""

    documents: Sequence[bytes]
    stored_bytes: int
    read_seconds: float  # of processor time


def find_tokens(inputs: Sequence[str]) -> TokenInput | None:
    """The inputs as datasets of tokens; None where they are documents. Raises InputError for some of each."""
    datasets = [name for name in inputs if holds_manifest(name)]
    if not datasets:
        return None
    if len(datasets) < len(inputs):
        other = next(name for name in inputs if name not in datasets)
        raise InputError(
            f"INPUT {datasets[0]} is a dataset, and INPUT {other} is none",
            expected="documents, or datasets of tokens",
        )
    return TokenInput.open(inputs)


def list_pools(directory: AnyPath) -> Iterator[Dataset]:
    """The pools of a dataset of tokens, each as a dataset that has no other."""
    dataset = Dataset.open(directory, sealed=True)
    return (replace(dataset, info=replace(dataset.info, shards=(shard,))) for shard in dataset.info.shards)


def _value(info: DatasetInfo, name: str) -> object:
    return info.vocab_sha256 if name == "vocab_sha256" else info.config[name]
