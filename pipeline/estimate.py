"""What a run will make and take, by one copy of a sample of its documents."""

import io
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

from pipeline.config import InstanceConfig
from pipeline.documents import RawDocument, ReadOptions, Rejected, content_of, digest_of
from pipeline.files import FilePart, count_rows
from pipeline.plan import Target
from pipeline.pools import Pools, pack_documents, unpack_pool
from pipeline.reading import read_stream
from pipeline.sentences import split_sentences
from pipeline.shards import ShardBuilder
from pipeline.storage import open_file, size_of
from pipeline.unfinished import Unfinished
from tokenizer.fast import FastTokenizer, id_dtype
from tokenizer.vocab import UNK, Vocab

SAMPLE_CHARACTERS = 500_000
SAMPLE_FILES = 8
SMALL_READ_BYTES = 1 << 13


@dataclass(frozen=True)
class Sample:
    """Documents from the beginnings of some of the files, and the share that they are of all of them."""

    documents: list[RawDocument]
    set_aside: Counter[str]  # what cannot be used, by reason
    share: float  # of the bytes of the files, as they are stored

    @property
    def all_documents(self) -> int:
        """About how many documents all the files hold."""
        return int(len(self.documents) / max(self.share, 1e-9))

    @property
    def all_content_bytes(self) -> float:
        """About the bytes of content that all the files hold."""
        return self.content_bytes / max(self.share, 1e-9)

    @property
    def content_bytes(self) -> int:
        """The bytes of its content, see `content_of`."""
        return sum(len(content_of(document.text)) for document in self.documents)


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


class _SmallReads(io.RawIOBase):
    """A file that is read in small steps whoever reads it, so that its position tells how much was used."""

    def __init__(self, file: BinaryIO):
        self.file = file

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, too."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Goes to a place."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self.file.tell()

    def readinto(self, buffer: Any) -> int:
        """Reads a few bytes."""
        data = self.file.read(min(len(buffer), SMALL_READ_BYTES))
        buffer[: len(data)] = data
        return len(data)


def read_sample(files: Sequence[str], options: ReadOptions) -> Sample:
    """Reads about SAMPLE_CHARACTERS from SAMPLE_FILES files, evenly chosen."""
    filled = [path for path in files if size_of(path)]
    chosen = filled[:: max(1, -(-len(filled) // SAMPLE_FILES))]
    documents: list[RawDocument] = []
    set_aside = Counter[str]()
    read = 0
    for path in chosen:
        characters = 0
        position = size_of(path)
        with open_file(path) as file:
            small_reads = cast(BinaryIO, _SmallReads(file))
            for document in read_stream(FilePart(path), small_reads, options, block_bytes=SMALL_READ_BYTES):
                if isinstance(document, Rejected):
                    set_aside[document.reason] += 1
                    continue
                documents.append(document)
                characters += len(document.text)
                if characters >= SAMPLE_CHARACTERS / len(chosen):
                    rows = count_rows(path)
                    position = position * document.place // rows if rows else file.tell()
                    break
        read += position
    return Sample(documents, set_aside, read / max(1, sum(map(size_of, files))))


def estimate_copy(sample: Sample, options: ReadOptions, vocab: Vocab, config: InstanceConfig) -> Estimate:
    """Makes one copy of the sample in a temporary folder and measures it."""
    config = replace(config, dupe_factor=1, eval_fraction=0.0, shards_per_copy=1)
    tokenizer = FastTokenizer(vocab, config.cased)
    with tempfile.TemporaryDirectory(prefix="maskmill-") as folder:
        target = Target(config, folder)
        start = time.process_time()
        documents = [split_sentences(document, options) for document in sample.documents]
        digests = [digest_of(content_of(document.text)) for document in sample.documents]
        packed = list(pack_documents(documents, digests, tokenizer))
        middle = time.process_time()
        pool = unpack_pool(packed, id_dtype(len(vocab)), config, vocab.ids[UNK])
        Unfinished(target.output).start({})
        list(ShardBuilder(vocab, target).build(0, pool, Pools(1, 0), finished=()))
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
