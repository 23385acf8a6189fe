"""What it costs to mask a batch anew on the device, beside nothing else, on each backend.

    python benchmarks/bench_dynamic_masking.py [--corpus FOLDER]

FOLDER holds books_sentences.txt.gz and bert-base-uncased-vocab.txt. Prints a Markdown table.
"""

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from needs import CORPUS, ENGLISH, ROOT, VOCAB, require

COMPILERS = {"tensorflow": ("graph", "XLA"), "jax": ("jit",)}
BATCH = 32
CALLS = 100


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--backend", choices=COMPILERS, help="used by the script itself: one backend, in this process")
    arguments = parser.parse_args()
    require(arguments.corpus / VOCAB, arguments.corpus / ENGLISH)
    if arguments.backend:
        measure(arguments.corpus, arguments.backend)
        return
    print("| batch | masks | compiled by | ms, median | fastest |\n|---|---|---|---|---|", flush=True)
    for backend in COMPILERS:
        command = [sys.executable, __file__, "--corpus", arguments.corpus, "--backend", backend]
        environment = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": backend}
        subprocess.run(command, env=environment, check=True)


def measure(corpus: Path, backend: str) -> None:
    from keras import ops

    from maskmill.model.bert.randomness import fold_in, key_of
    from maskmill.model.pretraining.dynamic_masking import MaskingRules, remask
    from maskmill.pipeline.dataset import schema
    from maskmill.pipeline.dataset.config import InstanceConfig
    from maskmill.pipeline.dataset.dataset import Dataset
    from maskmill.pipeline.dataset.schema import DatasetInfo
    from maskmill.pipeline.instances.masking import Masker
    from maskmill.pipeline.instances.segments import assemble
    from maskmill.tokenizer.fast import FastTokenizer
    from maskmill.tokenizer.vocab import Vocab

    vocab = Vocab.load(corpus / VOCAB)
    with gzip.open(corpus / ENGLISH, "rt", encoding="utf-8") as text:
        ids, _ = FastTokenizer(vocab).encode(text.read(1_000_000).split("\n"))

    for length, whole_word_mask in ((128, False), (128, True), (512, False), (512, True)):
        config = InstanceConfig(whole_word_mask=whole_word_mask).with_length(length)
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, schema.VOCAB).write_text(vocab.to_text())
            info = DatasetInfo(asdict(config), len(vocab), vocab.sha256, {}, (), "0")
            rules = MaskingRules.load(Dataset(directory, info))
        rng = np.random.default_rng(0)
        length_a = rng.integers(1, config.max_num_tokens, BATCH)
        start = rng.integers(len(ids) - length, size=BATCH)
        split, end = start + length_a, start + config.max_num_tokens
        segments = assemble(ids, np.stack([start, split, split, end, split * 0], axis=1), length, vocab)
        input_ids, predictions = Masker(vocab, config).mask(segments, rng)
        features = {
            "input_ids": ops.convert_to_tensor(input_ids),
            "input_mask": ops.cast(segments.input_mask, "int32"),
            "segment_ids": ops.cast(segments.segment_ids, "int32"),
            **{name: ops.convert_to_tensor(values) for name, values in vars(predictions).items()},
        }

        def run(features, step, rules=rules):
            return remask(features, fold_in(key_of(12345), step), rules)

        for how in COMPILERS[backend]:
            function = compiled(run, how)
            seconds = []
            for step in range(CALLS + 5):
                number = ops.convert_to_tensor(step)
                started = time.perf_counter()
                ops.convert_to_numpy(function(features, number)["masked_lm_ids"])  # waits for it
                seconds.append(time.perf_counter() - started)
            median, fastest = (f"{choose(seconds[5:]) * 1000:.1f}" for choose in (statistics.median, min))
            masks = "words" if whole_word_mask else "tokens"
            print(f"| {BATCH} x {length} | {masks} | {backend}, {how} | {median} | {fastest} |", flush=True)


def compiled(run, how: str):
    if how == "jit":
        import jax

        return jax.jit(run)
    import tensorflow as tf

    return tf.function(run, autograph=False, jit_compile=how == "XLA")


if __name__ == "__main__":
    main()
