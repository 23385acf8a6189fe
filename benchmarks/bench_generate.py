"""Speed and memory of `maskmill generate`, beside the readable oracle, in one run.

    python benchmarks/bench_generate.py [CORPUS] [VOCAB]

CORPUS is in BERT's text format. Prints one table: whole processes first, then the stages of one process.
"""

import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "corpus"
sys.path.insert(0, str(ROOT / "tests"))

import google_reference  # noqa: E402

from pipeline.config import InstanceConfig  # noqa: E402
from pipeline.documents import RawDocument, ReadOptions, read_documents  # noqa: E402
from pipeline.examples import ExampleEncoder  # noqa: E402
from pipeline.files import FilePart  # noqa: E402
from pipeline.masking import Masker  # noqa: E402
from pipeline.pairs import pair_documents, truncate_pairs  # noqa: E402
from pipeline.pools import content_of, digest_of, pack_documents, unpack_pool  # noqa: E402
from pipeline.schema import features  # noqa: E402
from pipeline.segments import assemble  # noqa: E402
from pipeline.sentences import split_sentences  # noqa: E402
from pipeline.tfrecord import write_records  # noqa: E402
from tokenizer.fast import FastTokenizer, id_dtype  # noqa: E402
from tokenizer.vocab import Vocab  # noqa: E402
from tokenizer.wordpiece import FullTokenizer  # noqa: E402

CONFIG = InstanceConfig(dupe_factor=5)
ORACLE_DOCUMENTS = 40


def main() -> None:
    corpus = Path(sys.argv[1] if len(sys.argv) > 1 else SHARED / "books_sentences.txt.gz")
    vocab_file = Path(sys.argv[2] if len(sys.argv) > 2 else SHARED / "bert-base-uncased-vocab.txt")
    if not corpus.exists() or not vocab_file.exists():
        print(f"Skipped: {corpus} or {vocab_file} is absent; name a corpus in BERT's text format and a vocabulary.")
        return
    documents = [d for d in read_documents(FilePart(str(corpus)), ReadOptions()) if isinstance(d, RawDocument)]
    megabytes = sum(len(document.text.encode()) for document in documents) / 1e6
    console = Console(width=100)

    table = Table("what", "wall s", "CPU s", "peak MB", "MB/s", title=f"{corpus.name}, {megabytes:.1f} MB, 5 copies")
    for workers in (1, 2):
        wall, cpu, peak = run_process(corpus, vocab_file, workers)
        table.add_row(
            f"maskmill generate, {workers} worker{'s' * (workers > 1)}",
            f"{wall:.1f}", f"{cpu:.1f}", f"{peak:.0f}", f"{megabytes / wall:.2f}",
        )  # fmt: skip
    seconds, slice_megabytes = run_oracle(documents, vocab_file)
    table.add_row(
        f"readable oracle, {ORACLE_DOCUMENTS} documents",
        f"{seconds:.1f}", f"{seconds:.1f}", "", f"{slice_megabytes / seconds:.2f}",
    )  # fmt: skip
    console.print(table)

    stages = run_stages(documents, vocab_file)
    table = Table("stage, one process", "CPU s", "share")
    for stage, seconds in stages.items():
        table.add_row(stage, f"{seconds:.2f}", f"{seconds / stages.total():.0%}")
    console.print(table)


def run_process(corpus: Path, vocab_file: Path, workers: int) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MB (of the largest process) of the whole command."""
    folder = tempfile.mkdtemp()
    command = [
        str(Path(sys.executable).parent / "maskmill"), "generate", str(corpus), "--vocab-file", str(vocab_file),
        "--output", folder, "--dupe-factor", "5", "--num-workers", str(workers),
    ]  # fmt: skip
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(folder)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, after.ru_maxrss / 1024


def run_oracle(documents: list[RawDocument], vocab_file: Path) -> tuple[float, float]:
    """Seconds and MB of text of the readable tokenizer, pairing and masking; nothing is encoded or written."""
    vocab = Vocab.load(vocab_file)
    tokenizer = FullTokenizer(vocab)
    chosen = documents[:: max(1, len(documents) // ORACLE_DOCUMENTS)][:ORACLE_DOCUMENTS]
    start = time.process_time()
    tokenized = [[tokenizer.tokenize(line) for line in split_sentences(d, ReadOptions())] for d in chosen]
    google_reference.create_instances(tokenized, vocab.tokens, CONFIG, random.Random(0))
    return time.process_time() - start, sum(len(document.text.encode()) for document in chosen) / 1e6


def run_stages(documents: list[RawDocument], vocab_file: Path) -> Counter[str]:
    """CPU seconds of each stage without Beam."""
    seconds: Counter[str] = Counter()

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
        pool = unpack_pool(packed, id_dtype(len(vocab)))
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
