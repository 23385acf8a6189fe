"""Corpora that are not even: half of it one page, very many tiny documents, a document of a fifth of it.

They are made within a tight memory limit here, and to the same bytes on a job server. Large ones: `make test-slow`.
"""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from command import maskmill
from engines import job_endpoint as job_endpoint  # a fixture

from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo

MEMORY = 700_000_000
RUN = """
import atexit
def print_peak():
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    print("peak", int(lines["VmHWM"].split()[0]) * 1024)
atexit.register(print_peak)
from maskmill.deploy.cli import main; main(prog_name="maskmill")
"""


def make_page(rng: random.Random, words: list[str], lines: int) -> str:
    return "\n".join(" ".join(rng.choices(words, k=12)) for _ in range(lines))


def make_corpus(kind: str, path: Path, words: list[str], size: int) -> None:
    """A corpus; the large ones have about 28, 5 and 14 MB."""
    rng = random.Random(0)
    page = make_page(rng, words, 60)
    with path.open("w") as file:
        if kind == "one page":
            file.writelines(f"{page if number % 2 else make_page(rng, words, 60)}\n\n" for number in range(size // 40))
        elif kind == "tiny documents":
            file.writelines(f"{make_page(rng, words[:200], 1)[:24]} {number}\n\n" for number in range(size))
        else:
            file.writelines(f"{make_page(rng, words, 60)}\n\n" for _ in range(size // 100))
            file.write(make_page(rng, words, size * 3 // 20))


@pytest.mark.parametrize("size", [10_000, pytest.param(200_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["one page", "tiny documents", "a large document"])
def test_an_uneven_corpus_stays_within_the_memory(tmp_path, small_vocab, small_vocab_file, job_endpoint, kind, size):
    corpus = tmp_path / "corpus.txt"
    make_corpus(kind, corpus, [token for token in small_vocab.tokens if token.isalpha()], size)
    options = ["--vocab-file", small_vocab_file, "--dupe-factor", 1, "--shards-per-copy", 4, "--num-workers", 1]
    command = ["generate", corpus, *options, "--memory-limit", "700MB", "--output", tmp_path / "here"]
    here = subprocess.run([sys.executable, "-c", RUN, *map(str, command)], capture_output=True, text=True)
    assert here.returncode == 0, here.stderr
    assert int(here.stdout.split()[-1]) < MEMORY
    Dataset.open(tmp_path / "here").check_files()
    info = DatasetInfo.load(tmp_path / "here")
    if kind == "one page":
        sizes = [shard.bytes for shard in info.shards]
        assert max(sizes) < 2 * min(sizes)
        assert info.counts["train"]["duplicate_documents"] >= size // 80 - 4
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint, "--output", tmp_path / "there", *options[:-2]]
    there = maskmill("generate", corpus, *remote, "--", "--environment_type=LOOPBACK")
    assert there.returncode == 0, there.stderr
    for shard in info.shards:
        assert (tmp_path / "there" / shard.path).read_bytes() == (tmp_path / "here" / shard.path).read_bytes()
