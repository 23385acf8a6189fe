"""What a run will make and take, by one copy of a sample of its documents."""

import tempfile
import time
from dataclasses import dataclass, replace

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.pools import Pools, pack_documents, unpack_pool
from maskmill.pipeline.jobs.shards import ShardBuilder
from maskmill.pipeline.reading.documents import ReadOptions, content_of, digest_of
from maskmill.pipeline.reading.sampling import Sample
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.tokenizer.fast import FastTokenizer, id_dtype
from maskmill.tokenizer.vocab import UNK, Vocab


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


def estimate_copy(sample: Sample, options: ReadOptions, vocab: Vocab, config: InstanceConfig) -> Estimate:
    """Makes one copy of the sample in a temporary folder and measures it."""
    config = replace(config, dupe_factor=1, eval_fraction=0.0, shards_per_copy=1)
    tokenizer = FastTokenizer(vocab, config.cased)
    with tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
        target = Target(config, folder)
        digests = [digest_of(content_of(document.text)) for document in sample.documents]
        start = time.process_time()
        documents = [split_sentences(document, options) for document in sample.documents]
        packed = list(pack_documents(documents, digests, tokenizer))
        middle = time.process_time()
        pool = unpack_pool(packed, id_dtype(len(vocab)), config, vocab.ids[UNK])
        Unfinished(target.output).start({})
        list(ShardBuilder(vocab, target).build(0, pool, Pools(1, 0)))
        end = time.process_time()
        [record] = Unfinished(target.output).finished()
        shard, counts = record.shard, record.counts
    return Estimate(
        content_bytes=sample.content_bytes,
        packed_bytes=sum(map(len, packed)),
        instances=shard.examples,
        instance_tokens=counts["train/instance_tokens"],
        shard_bytes=shard.bytes,
        tokenize_seconds=middle - start,
        build_seconds=end - middle,
        random_next=counts["train/random_next"],
        padding=1 - counts["train/instance_tokens"] / max(1, shard.examples * config.max_seq_length),
    )
