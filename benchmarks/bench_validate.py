"""Speed of `maskmill validate`, beside the reading and decoding that it begins with, in one run, on one core.

    python benchmarks/bench_validate.py [--corpus FOLDER]

FOLDER holds books_sentences.txt.gz and bert-base-uncased-vocab.txt. Generates datasets in a temporary folder, and
prints a Markdown table: examples per CPU second, the median of the rounds and the best, which other work on the
machine disturbs less; and the most memory that a process took. Fails when a problem is found.
"""

import argparse
import gzip
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import needs
from needs import CORPUS, ENGLISH

from maskmill.deploy.cli import main as maskmill
from maskmill.deploy.terminal.inputs import load_vocab
from maskmill.pipeline.dataset.schema import VOCAB, DatasetInfo
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.tfrecord import read_records
from maskmill.pipeline.validation.dataset import validate_dataset
from maskmill.pipeline.validation.files import read_config
from maskmill.pipeline.validation.shards import BATCH_RECORDS, validate_shard
from maskmill.pipeline.validation.standard import Standard
from maskmill.pipeline.validation.workers import shard_reader

ROUNDS = 9
DATASETS = {
    "128 tokens": [],
    "128, gzip": ["--compression", "gzip"],
    "128, whole words": ["--whole-word-mask"],
    "512 tokens": ["--max-seq-length", "512"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="default: %(default)s")
    corpus = parser.parse_args().corpus
    needs.require(corpus / needs.VOCAB, corpus / ENGLISH)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="maskmill-bench-") as folder:
        text = Path(folder) / "books.txt"
        text.write_bytes(gzip.decompress((corpus / ENGLISH).read_bytes()))
        print("\n| examples/s, median (best) | " + " | ".join(DATASETS) + " |\n|---|" + "---|" * len(DATASETS))
        columns = []
        for number, options in enumerate(DATASETS.values()):
            made = Path(folder) / str(number)
            arguments = ["generate", text, "--vocab-file", corpus / needs.VOCAB, "--output", made, "--dupe-factor", 2]
            with open(os.devnull, "w") as nowhere:
                stdout, _ = os.dup(1), os.dup2(nowhere.fileno(), 1)
                maskmill(list(map(str, [*arguments, "--num-workers", 1, *options])), standalone_mode=False)
                os.dup2(stdout, 1)
            columns.append(measure(made, Path(folder) / "keys.npy"))
        for system in columns[0]:
            print(f"| {system} | " + " | ".join(column[system] for column in columns) + " |")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"\nLoad {os.getloadavg()[0]:.1f}; most memory {memory:,.0f} MB")


def measure(made: Path, keys: Path) -> dict[str, str]:
    """Examples per CPU second; the systems take turns."""
    info = DatasetInfo.load(made)
    standard = Standard(read_config(str(made), info), info.vocab_size, load_vocab(str(made / VOCAB)))
    assert len(standard.kinds)  # found once
    decoder = ExampleDecoder(info.features)

    def read() -> None:
        for shard in info.shards:
            records = list(read_records(made / shard.path))
            for start in range(0, len(records), BATCH_RECORDS):
                decoder.decode(records[start : start + BATCH_RECORDS])

    def validate() -> None:
        for shard in info.shards:
            assert not validate_shard(made, shard, standard, str(keys)).problems

    def validate_all() -> None:
        with shard_reader(str(made), 1, lambda shard_bytes, examples: None) as read_shards:
            assert not validate_dataset(str(made), read_shards).problems

    systems: dict[str, Callable[[], None]] = {
        "`read_records` and `ExampleDecoder` alone": read,
        "`validate_shard`": validate,
        "all of `validate`": validate_all,
    }
    speeds: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(ROUNDS):
        for name, run in systems.items():
            start = time.process_time()
            run()
            speeds[name].append(sum(shard.examples for shard in info.shards) / (time.process_time() - start))
    return {name: f"{statistics.median(found):,.0f} ({max(found):,.0f})" for name, found in speeds.items()}


if __name__ == "__main__":
    main()
