"""Small datasets made without Beam, and damaged on purpose, with a manifest that fits the damage."""

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np

from maskmill.pipeline.dataset.outputs import prepare_output
from maskmill.pipeline.dataset.schema import MANIFEST, DatasetInfo
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pools import Pools, pack_documents
from maskmill.pipeline.jobs.manifest import write_manifest
from maskmill.pipeline.jobs.shards import ShardBuilder
from maskmill.pipeline.reading.documents import content_of, digest_of
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.examples import ExampleEncoder
from maskmill.pipeline.records.tfrecord import read_records, write_records
from maskmill.pipeline.validation.dataset import validate_dataset
from maskmill.pipeline.validation.workers import shard_reader
from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.json_file import seal


def make_dataset(folder: Path, documents, config, vocab) -> Path:
    """Documents, each a list of sentences, to a dataset, as `generate` makes it."""
    target = Target(config, str(folder))
    prepare_output(target, overwrite=True)
    digests = [digest_of(content_of("\n".join(sentences))) for sentences in documents]
    pools = Pools.plan(config, len(documents), sum(len(line) for sentences in documents for line in sentences))
    packed = list(pack_documents(documents, digests, FastTokenizer(vocab, cased=config.cased)))
    builder = ShardBuilder(vocab, target)
    for number in range(len(pools)):
        of_pool = [one for one, digest in zip(packed, digests) if pools.pool_of(digest, config) == number]
        pool = PackedPool.gather(of_pool, np.dtype(np.uint16))
        assert list(builder.build(number, pool, pools))
    write_manifest(target, vocab, pools, Counter({"documents": len(documents)}))
    Unfinished(target.output).remove()
    return folder


def validate(folder: Path, num_workers: int = 1):
    """What is found in a dataset."""
    with shard_reader(str(folder), num_workers, lambda shard_bytes, examples: None) as read_shards:
        return validate_dataset(str(folder), read_shards)


def said(validation) -> list[str]:
    """The problems that are named."""
    return [str(problem) for problem in validation.problems.named]


def read_shard(folder: Path, number: int):
    """A shard, and its examples as arrays."""
    info = DatasetInfo.load(folder)
    shard = info.shards[number]
    return shard, ExampleDecoder(info.features).decode(list(read_records(folder / shard.path)))


def rewrite_shard(folder: Path, number: int, change) -> str:
    """Changes the arrays of a shard with `change`, and with it what the manifest says of the file; returns its name."""
    info = DatasetInfo.load(folder)
    shard, arrays = read_shard(folder, number)
    arrays = change(arrays) or arrays
    records = ExampleEncoder(info.features).encode(arrays)
    written = write_records(folder / shard.path, [records], info.config["compression"])
    shards = list(info.shards)
    shards[number] = dataclasses.replace(shard, examples=written.records, bytes=written.bytes, sha256=written.sha256)
    dataclasses.replace(info, shards=tuple(shards)).save(folder)
    return shard.path


def change_manifest(folder: Path, change) -> None:
    """Changes the values of the manifest, and its checksum with them."""
    values = json.loads((folder / MANIFEST).read_text())
    values.pop("sha256")
    change(values)
    (folder / MANIFEST).write_text(seal(values))


def change_vocab(folder: Path, text: str) -> None:
    """Replaces the vocabulary, and its checksum in the manifest with it."""
    (folder / "vocab.txt").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    change_manifest(folder, lambda values: values.update(vocab_sha256=digest, vocab_size=text.count("\n")))
