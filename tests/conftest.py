"""What several tests share: the golden folder, BERT's vocabulary, a small one, and a small corpus."""

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from places import GOLDEN
from signals import handle_ignored_signals
from small_text import WORDS

from maskmill.pipeline.storage.store import CLOUD
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab

# The machine may be busy.
settings.register_profile("maskmill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("maskmill")

handle_ignored_signals()

# What the terminal or the CI runner says of itself changes what is printed.
for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
    os.environ.pop(name, None)
os.environ["TERM"] = "xterm"

# Compiling takes longer than running, with models as small as those of the tests. So it is done fast, and what one
# process compiled serves all others; set before any of them imports a backend.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # else that of pytest's first process, which started this one
    compiled = TemporaryDirectory(prefix="maskmill-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name


# Take minutes, the longest first. Whole files are given to pytest's processes in this order: one that begins last would
# be waited for by all others.
LONGEST = (
    "test_clean_worker.py", "test_generation.py", "test_bert.py", "test_distribution.py", "test_cloud.py",
    "test_remote.py", "test_step.py", "test_demo.py", "test_recipes.py", "test_train.py", "test_cli.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(autouse=True)
def new_client_of_cloud_storage() -> Iterator[None]:
    """Every test has an emulator of its own, or none; the client of one would wait for minutes for that of another."""
    forget_client()
    yield
    forget_client()


def forget_client() -> None:
    CLOUD.forget()


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def bert_vocab() -> Vocab:
    return Vocab.load(GOLDEN / "bert-base-uncased-vocab.txt")


@pytest.fixture(scope="session")
def golden_lines() -> list[dict[str, Any]]:
    """Lines in many languages with the tokens and ids that Google's tokenizer gives."""
    with gzip.open(GOLDEN / "tokenization.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def small_vocab() -> Vocab:
    pieces = ["##s", "##ed", "##ing", "un", "##able", ".", ",", "!"]
    return Vocab([*SPECIAL_TOKENS, "[unused0]", *WORDS, *pieces])


@pytest.fixture(scope="session")
def corpus_lines() -> list[list[str]]:
    """Forty documents of one to twelve sentences, all different."""
    return [
        [
            " ".join(
                WORDS[(document * 7 + line * 3 + place) % len(WORDS)] for place in range(3 + (document + line) % 9)
            )
            + (" ." if line % 2 else " uns cats")
            for line in range(1 + document % 12)
        ]
        for document in range(40)
    ]


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory: pytest.TempPathFactory, corpus_lines: list[list[str]]) -> Path:
    """The small corpus in BERT's text format."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    path.write_text("\n\n".join("\n".join(lines) for lines in corpus_lines) + "\n")
    return path


@pytest.fixture(scope="session")
def small_vocab_file(tmp_path_factory: pytest.TempPathFactory, small_vocab: Vocab) -> Path:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text(small_vocab.to_text())
    return path
