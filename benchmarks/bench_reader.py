"""Speed of reading shards into batches, beside tf.data, in one run, on one core.

    python benchmarks/bench_reader.py [--corpus FOLDER]

FOLDER holds books_sentences.txt.gz and bert-base-uncased-vocab.txt. Generates datasets of 128 and 512 tokens, plain,
gzip, Parquet and tokens, in a temporary folder, and prints a Markdown table: the median of the rounds, in CPU seconds,
which other work on the machine disturbs less than wall seconds. Fails when the batches of the two differ.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import argparse
import gzip
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from needs import CORPUS, ENGLISH, VOCAB, require

from maskmill.deploy.cli import main as maskmill
from maskmill.model.pretraining.batches import eval_batches
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.examples import decode_example
from maskmill.pipeline.records.tfrecord import read_records

# Name, --format and --compression of the datasets.
KINDS = (
    ("none", "tfrecord", "none"), ("gzip", "tfrecord", "gzip"), ("parquet", "parquet", "none"),
    ("tokens", "tokens", "none"),
)  # fmt: skip
ROUNDS = 5
BATCH = 1024  # examples, of ours and of tf.data
SOME = 1000  # examples, for what is slow

Batch = dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="default: %(default)s")
    corpus = parser.parse_args().corpus
    require(corpus / VOCAB, corpus / ENGLISH)
    with tempfile.TemporaryDirectory(prefix="maskmill-bench-") as folder:
        text = Path(folder) / "books.txt"
        text.write_bytes(gzip.decompress((corpus / ENGLISH).read_bytes()))
        for kind, format, compression in KINDS:
            for length in (128, 512):
                arguments = ["--vocab-file", corpus / VOCAB, "--output", Path(folder) / kind / str(length)]
                arguments += ["--dupe-factor", 1, "--max-seq-length", length, "--format", format]
                arguments += ["--compression", compression]
                maskmill(list(map(str, ["generate", text, *arguments])), standalone_mode=False)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before TensorFlow counts the cores
        print("\n| examples/s | 128 tokens | 128, gzip | 512 tokens | 512, gzip |\n|---|---|---|---|---|")
        columns = [measure_all(Path(folder), kind, length) for length in (128, 512) for kind in ("none", "gzip")]
        for system in columns[0]:
            print(f"| {system} | " + " | ".join(f"{column[system]:,.0f}" for column in columns) + " |")


def measure_all(folder: Path, kind: str, length: int) -> dict[str, float]:
    """Examples per CPU second of each system; their rounds take turns."""
    dataset = folder / kind / str(length)
    opened = Dataset.open(dataset)
    columns, tokens = (Dataset.open(folder / other / str(length)) for other in ("parquet", "tokens"))
    info = opened.info
    paths = [str(dataset / shard.path) for shard in info.shards_of("train")]
    records = [record for path in paths for record in read_records(path)]
    decoder = ExampleDecoder(info.features)
    systems: dict[str, Callable[[], int]] = {
        "`read_records`, CRC checked": lambda: sum(1 for path in paths for _ in read_records(path)),
        "`ExampleDecoder`": lambda: sum(map(count, decode_all(decoder, records))),
        "`decode_example`, readable": lambda: len([decode_example(record) for record in records[:SOME]]),
        "reader: both, in its two threads": lambda: sum(map(count, eval_batches(opened, BATCH, "train"))),
        "reader, of Parquet": lambda: sum(map(count, eval_batches(columns, BATCH, "train"))),
        "reader, drawn of tokens": lambda: sum(map(count, eval_batches(tokens, BATCH, "train"))),
        "tf.data: batch, then `parse_example`": lambda: sum(map(count, tf_batches(info, paths))),
    }
    ours, theirs = eval_batches(opened, BATCH, "train"), tf_batches(info, paths)
    for one, other in zip(ours, theirs):  # the last of ours is filled up
        assert all((values[: count(other)] == other[name]).all() for name, values in one.items()), "batches differ"
    speeds: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(ROUNDS):
        for name, read in systems.items():
            start = time.process_time()
            examples = read()
            speeds[name].append(examples / (time.process_time() - start))
    return {name: statistics.median(values) for name, values in speeds.items()}


def count(batch: Batch) -> int:
    return len(batch["input_ids"])


def decode_all(decoder: ExampleDecoder, records: list[bytes]) -> Iterator[Batch]:
    return (decoder.decode(records[start : start + BATCH]) for start in range(0, len(records), BATCH))


def tf_batches(info: DatasetInfo, paths: list[str]) -> Iterator[Batch]:
    import tensorflow as tf

    spec = {feature.name: tf.io.FixedLenFeature([feature.length], feature.dtype) for feature in info.features}
    compression = "GZIP" if paths[0].endswith(".gz") else ""

    def parse(serialized):
        parsed = tf.io.parse_example(serialized, spec)
        return {name: tf.cast(x, tf.int32) if x.dtype == tf.int64 else x for name, x in parsed.items()}

    records = tf.data.TFRecordDataset(paths, compression, buffer_size=1 << 20)
    batches: Iterator[Batch] = records.batch(BATCH).map(parse).prefetch(8).as_numpy_iterator()
    return batches


if __name__ == "__main__":
    main()
