"""Speed and memory of `maskmill generate`, beside the readable oracle, in one run.

    python benchmarks/bench_generate.py [--times N] [--dupe-factor N] [--format tokens] [--memory-limit SIZE]
                                        [--corpus FILE] [--vocab FILE]

FILE is in BERT's text format; `--times 10` makes ten distinct copies of it one large file. Prints two tables: whole
processes, with one worker and with two, and the stages of one process.
"""

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from needs import CORPUS, ENGLISH, ROOT, VOCAB, require
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import google_reference

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import features
from maskmill.pipeline.instances.masking import Masker
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pairs import pair_documents, truncate_pairs
from maskmill.pipeline.instances.pools import pack_documents
from maskmill.pipeline.instances.segments import assemble
from maskmill.pipeline.reading.documents import Document, ReadOptions, content_of, digest_of
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.reading.parts import read_documents
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.pipeline.records.examples import ExampleEncoder
from maskmill.pipeline.records.tfrecord import write_records
from maskmill.tokenizer.fast import FastTokenizer, id_dtype
from maskmill.tokenizer.vocab import Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer

CONFIG = InstanceConfig(dupe_factor=5)
ORACLE_DOCUMENTS = 40
EMPTY_RUN = """
import apache_beam, maskmill.deploy.data.generation, maskmill.pipeline.jobs.dag
maskmill.pipeline.jobs.dag.submit(lambda p: p | apache_beam.Create([1]), ["--runner=FnApiRunner"]).wait_until_finish()
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--dupe-factor", default="5")
    parser.add_argument("--format", default="tfrecord", choices=["tfrecord", "parquet", "tokens"])
    parser.add_argument("--memory-limit")
    parser.add_argument("--num-workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--corpus", type=Path, default=CORPUS / ENGLISH)
    parser.add_argument("--vocab", type=Path, default=CORPUS / VOCAB)
    arguments = parser.parse_args()
    require(arguments.corpus, arguments.vocab, option="--corpus and --vocab")
    part = FilePart(str(arguments.corpus))
    documents = [d for d in read_documents(part, ReadOptions()) if isinstance(d, Document)]
    console = Console(width=100)
    options = ["--dupe-factor", arguments.dupe_factor, "--format", arguments.format]
    if arguments.memory_limit:
        options += ["--memory-limit", arguments.memory_limit]

    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.txt"
        with corpus.open("w", encoding="utf-8") as file:
            for copy in range(arguments.times):
                file.writelines(f"Copy {copy} .\n{document.text}\n\n" for document in documents)
        megabytes = corpus.stat().st_size / 1e6
        title = f"{arguments.corpus.name} x {arguments.times}, {megabytes:.1f} MB, {' '.join(options)}"
        table = Table("what", "wall s", "CPU s", "peak MB", "MB/s", title=title)
        for workers in arguments.num_workers:
            command = [
                str(Path(sys.executable).parent / "maskmill"), "generate", str(corpus), "--vocab-file",
                str(arguments.vocab), "--output", f"{folder}/out", "--num-workers", str(workers), *options,
            ]  # fmt: skip
            wall, cpu, peak = run_process(command)
            shutil.rmtree(f"{folder}/out")
            table.add_row(
                f"maskmill generate, {workers} worker{'s' * (workers > 1)}",
                f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}", f"{megabytes / wall:.2f}",
            )  # fmt: skip
        _, cpu, _ = run_process([sys.executable, "-c", EMPTY_RUN])
        table.add_row("start of Python and Beam: a DAG of one element", "", f"{cpu:.1f}")
    seconds, slice_megabytes = run_oracle(documents, arguments.vocab)
    table.add_row(
        f"readable oracle, {ORACLE_DOCUMENTS} documents",
        f"{seconds:.1f}", f"{seconds:.1f}", "", f"{slice_megabytes / seconds:.2f}",
    )  # fmt: skip
    console.print(table)

    stages = run_stages(documents, arguments.vocab)
    table = Table("stage, one process, once the corpus", "CPU s", "share")
    for stage, seconds in stages.items():
        table.add_row(stage, f"{seconds:.2f}", f"{seconds / sum(stages.values()):.0%}")
    table.add_row("all", f"{sum(stages.values()):.2f}", "")
    console.print(table)


def run_process(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and the peak MB of a command: the memory of all its processes together (PSS)."""
    start = time.perf_counter()
    peak = 0
    cpu: dict[int, float] = {}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    while process.poll() is None:
        family = [process.pid, *descendants(process.pid)]
        peak = max(peak, sum(map(proportional_memory, family)))
        cpu |= {pid: max(cpu.get(pid, 0.0), cpu_seconds(pid)) for pid in family[1:]}
        time.sleep(0.5)
    if process.returncode:
        sys.exit(f"{command} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, own + sum(cpu.values()), peak / 1e6


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [below for child in children for below in descendants(child)]


def proportional_memory(pid: int) -> int:
    """Bytes of a process, those that it shares with others divided among them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def cpu_seconds(pid: int) -> float:
    """Of a process up to now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_oracle(documents: list[Document], vocab_file: Path) -> tuple[float, float]:
    """Seconds and MB of text of the readable tokenizer, pairing and masking; nothing is encoded or written."""
    vocab = Vocab.load(vocab_file)
    tokenizer = FullTokenizer(vocab)
    chosen = documents[:: max(1, len(documents) // ORACLE_DOCUMENTS)][:ORACLE_DOCUMENTS]
    start = time.process_time()
    tokenized = [[tokenizer.tokenize(line) for line in split_sentences(d, ReadOptions())] for d in chosen]
    google_reference.create_instances(tokenized, vocab.tokens, CONFIG, random.Random(0))
    return time.process_time() - start, sum(len(document.text.encode()) for document in chosen) / 1e6


def run_stages(documents: list[Document], vocab_file: Path) -> dict[str, float]:
    """CPU seconds of each stage without Beam."""
    seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def clock(stage: str) -> Iterator[None]:
        start = time.process_time()
        yield
        seconds[stage] += time.process_time() - start

    vocab = Vocab.load(vocab_file)
    tokenizer, masker = FastTokenizer(vocab), Masker(vocab, CONFIG)
    encoder = ExampleEncoder(features(CONFIG.max_seq_length, CONFIG.max_predictions_per_seq))
    with clock("split"):
        split = [split_sentences(document, ReadOptions()) for document in documents]
    with clock("digest"):
        digests = [digest_of(content_of(document.text)) for document in documents]
    with clock("tokenize, pack"):
        packed = list(pack_documents(split, digests, tokenizer))
    with clock("unpack"):
        pool = PackedPool.gather(packed, id_dtype(len(vocab))).unpack(CONFIG, vocab.ids["[UNK]"])
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(CONFIG.dupe_factor):
            with clock("pair"):
                pairs = truncate_pairs(pair_documents(pool, CONFIG, rng)[0], CONFIG.max_num_tokens, rng)
            for start in range(0, len(pairs), 512):
                with clock("assemble"):
                    segments = assemble(pool.ids, pairs[start : start + 512], CONFIG.max_seq_length, vocab)
                with clock("mask"):
                    input_ids, predictions = masker.mask(segments, rng)
                with clock("encode"):
                    records = encoder.encode(
                        {
                            **vars(predictions),
                            "input_ids": input_ids,
                            "input_mask": segments.input_mask,
                            "segment_ids": segments.segment_ids,
                            "next_sentence_labels": segments.is_random_next[:, None],
                        }
                    )
                with clock("frame, checksum, write"):
                    write_records(Path(folder) / "shard", [records])
    return seconds


if __name__ == "__main__":
    main()
