"""Speed and memory of `FastTokenizer`, beside the readable tokenizer and Hugging Face `tokenizers`, in one run.

    python benchmarks/bench_tokenizer.py [--corpus FOLDER]

FOLDER holds books_sentences.txt.gz, zh_poems.jsonl.gz and bert-base-uncased-vocab.txt. Prints a Markdown table of
each text. All that is timed runs in one process on one thread. Fails when FastTokenizer differs in any line.
"""

import os

os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")  # read when `tokenizers` is first used

import argparse
import gzip
import json
import multiprocessing
import random
import resource
import statistics
import string
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import tokenizers
from needs import CHINESE, CORPUS, ENGLISH, VOCAB, require

from maskmill.tokenizer.fast import FastTokenizer
from maskmill.tokenizer.huggingface import to_tokenizer_json
from maskmill.tokenizer.vocab import Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer

BATCH_LINES = 1000  # given to `tokenizers` at a time
MULTILINGUAL_BYTES = 8_000_000

Encode = Callable[[list[str]], Any]  # lines to their ids: a list of lists, or FastTokenizer's two arrays


def letters(*ranges: tuple[int, int]) -> list[str]:
    return [chr(code) for first, last in ranges for code in range(first, last + 1)]


CAPITAL_SIGMA = "Σ"  # lowered by its place in the word; in one Greek word of 20
GREEK = letters((0x391, 0x3A1), (0x3A4, 0x3CE))
ALPHABETS = [
    list(string.ascii_letters),
    [*string.ascii_letters, *letters((0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x17F))],  # Latin with accents
    letters((0x400, 0x45F)),  # Cyrillic
    GREEK,
    letters((0x621, 0x63A), (0x641, 0x652)),  # Arabic with vowel points
    letters((0x901, 0x939), (0x93C, 0x94D)),  # Devanagari with marks
    letters((0xAC00, 0xD7A3)),  # Hangul
    letters((0x3041, 0x3096), (0x30A1, 0x30FA)),  # Kana
    letters((0xE01, 0xE3A), (0xE40, 0xE4E)),  # Thai
]


def english(corpus: Path) -> list[str]:
    with gzip.open(corpus / ENGLISH, "rt", encoding="utf-8") as file:
        return [line.removesuffix("\n") for line in file]


def chinese(corpus: Path) -> list[str]:
    with gzip.open(corpus / CHINESE, "rt", encoding="utf-8") as file:
        return [line for poem in file for line in json.loads(poem)["text"].splitlines()]


def multilingual(_: Path) -> list[str]:
    """Lines of random words, the same in every run."""
    rng, lines, size = random.Random(0), [], 0
    while size < MULTILINGUAL_BYTES:
        lines.append(" ".join(random_word(rng) for _ in range(rng.randint(8, 20))) + rng.choice(".!?。।"))
        size += len(lines[-1].encode()) + 1
    return lines


def random_word(rng: random.Random) -> str:
    alphabet = rng.choice(ALPHABETS)
    word = rng.choices(alphabet, k=rng.randint(2, 12))
    if alphabet is GREEK and rng.random() < 0.05:
        word[rng.randrange(len(word))] = CAPITAL_SIGMA
    return "".join(word) + (rng.choice([",", ";", ":", "،", "、", "…"]) if rng.random() < 0.1 else "")


TEXTS = {"English": english, "Chinese": chinese, "Multilingual, hardly a word twice": multilingual}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="default: %(default)s")
    corpus = parser.parse_args().corpus
    require(*(corpus / name for name in (VOCAB, ENGLISH, CHINESE)))
    # First of all: a child's ru_maxrss begins at its parent's peak.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as children:
        added = dict(zip(TEXTS, children.map(added_megabytes, TEXTS, [corpus] * len(TEXTS))))
    vocab = Vocab.load(corpus / VOCAB)
    construction, _ = measure(lambda: lambda _: FastTokenizer(vocab), [], 5)
    print(f"A FastTokenizer is constructed in {construction:.3f} CPU s. tokenizers {tokenizers.__version__}.")
    for name, read in TEXTS.items():
        lines = read(corpus)
        megabytes = len("\n".join(lines).encode()) / 1e6
        print(f"\n{name}: {len(lines):,} lines, {megabytes:.1f} MB; `FastTokenizer` adds {added[name]:.0f} MB.\n")
        print_table(vocab, lines, megabytes)


def added_megabytes(name: str, corpus: Path) -> float:
    """Peak memory of constructing a FastTokenizer and encoding a text, its ids included, the text not."""
    vocab, lines = Vocab.load(corpus / VOCAB), TEXTS[name](corpus)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _result = FastTokenizer(vocab).encode(lines)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def print_table(vocab: Vocab, lines: list[str], megabytes: float) -> None:
    readable, warm = FullTokenizer(vocab), FastTokenizer(vocab)
    warm.encode(lines)
    library = tokenizers.Tokenizer.from_str(to_tokenizer_json(vocab, cased=False))
    systems: dict[str, tuple[Callable[[], Encode], int]] = {  # what makes the system, and its rounds
        "readable `FullTokenizer`": (lambda: lambda lines: [readable.encode(line) for line in lines], 1),
        "`tokenizers`, `encode_batch`": (lambda: in_batches(library.encode_batch), 3),
        "`tokenizers`, `encode_batch_fast`": (lambda: in_batches(library.encode_batch_fast), 3),
        "`FastTokenizer`, cold": (lambda: FastTokenizer(vocab).encode, 5),
        "`FastTokenizer`, warm": (lambda: warm.encode, 5),
    }
    print("| one thread | CPU s | MB/s | times the readable | lines that differ |\n|---|---|---|---|---|")
    expected, baseline = None, None
    for system, (make, rounds) in systems.items():
        seconds, ids = measure(make, lines, rounds)
        if is_fast := isinstance(ids, tuple):
            flat, offsets = ids
            ids = [flat[start:end].tolist() for start, end in pairwise(offsets.tolist())]
        expected, baseline = expected or ids, baseline or seconds
        assert len(ids) == len(lines)
        different = [line for line, a, b in zip(lines, ids, expected) if a != b]
        speed, ratio = megabytes / seconds, baseline / seconds
        print(f"| {system} | {seconds:.2f} | {speed:.2f} | {ratio:.1f} | {len(different):,} |", flush=True)
        assert not (is_fast and different), f"FastTokenizer differs in {different[0]!r}"


def in_batches(encode_batch: Callable[..., list[tokenizers.Encoding]]) -> Encode:
    def encode(lines: list[str]) -> list[list[int]]:
        batches = (lines[start : start + BATCH_LINES] for start in range(0, len(lines), BATCH_LINES))
        return [encoding.ids for batch in batches for encoding in encode_batch(batch, add_special_tokens=False)]

    return encode


def measure(make: Callable[[], Encode], lines: list[str], rounds: int) -> tuple[float, Any]:
    """The median CPU seconds of what `make` makes, and the ids. The making is not counted."""
    seconds = []
    for _ in range(rounds):
        encode = make()
        start = time.process_time()
        ids = encode(lines)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), ids


if __name__ == "__main__":
    main()
