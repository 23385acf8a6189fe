"""What a run will make and take, by one copy of a sample of its documents."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pools import Pools, pack_documents
from maskmill.pipeline.jobs.shards import ShardBuilder
from maskmill.pipeline.reading.documents import ReadOptions, content_of, digest_of
from maskmill.pipeline.reading.sampling import Sample
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.tokenizer.fast import FastTokenizer, id_dtype
from maskmill.tokenizer.vocab import Vocab


@dataclass(frozen=True)
class Estimate:
    """What one copy of a sample comes to."""

    content_bytes: int
    packed_bytes: int  # of tokenised documents, as they are shuffled
    instances: int
    instance_tokens: int
    shard_bytes: int
    tokenize_seconds: float  # of processor time
    build_seconds: float
    padding: float  # share of the positions of all instances
    random_next: int  # instances whose label is 1


@dataclass(frozen=True)
class PackedSample:
    """Some of the documents, tokenised."""

    documents: Sequence[bytes]  # as `pack_document` makes them
    content_bytes: int
    tokenize_seconds: float  # of processor time


def tokenize_sample(sample: Sample, options: ReadOptions, vocab: Vocab, cased: bool) -> PackedSample:
    """Splits the documents of a sample into sentences and tokenises them."""
    tokenizer = FastTokenizer(vocab, cased)
    digests = [digest_of(content_of(document.text)) for document in sample.documents]
    start = time.process_time()
    documents = [split_sentences(document, options) for document in sample.documents]
    packed = list(pack_documents(documents, digests, tokenizer))
    return PackedSample(packed, sample.content_bytes, time.process_time() - start)


def estimate_copy(sample: PackedSample, vocab: Vocab, config: InstanceConfig) -> Estimate:
    """Makes one copy of the sample in a temporary folder and measures it."""
    config = replace(config, dupe_factor=1, eval_fraction=0.0, shards_per_copy=1)
    with tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
        target = Target(config, folder)
        start = time.process_time()
        pool = PackedPool.gather(sample.documents, id_dtype(len(vocab)))
        Unfinished(target.output).start({})
        list(ShardBuilder(vocab, target).build(0, pool, Pools(1, 0)))
        seconds = time.process_time() - start
        [record] = Unfinished(target.output).finished()
        shard, counts = record.shard, record.counts
    return Estimate(
        content_bytes=sample.content_bytes,
        packed_bytes=sum(map(len, sample.documents)),
        instances=shard.examples,
        instance_tokens=counts["train/instance_tokens"],
        shard_bytes=shard.bytes,
        tokenize_seconds=sample.tokenize_seconds,
        build_seconds=seconds,
        random_next=counts["train/random_next"],
        padding=1 - counts["train/instance_tokens"] / max(1, shard.examples * config.max_seq_length),
    )
