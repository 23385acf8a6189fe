"""The two sides that tests/hf compares, each in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from places import HELPERS, ROOT, TESTS

HERE = TESTS / "hf"


HF_PYTHON = Path(os.environ.get("HF_VENV", ROOT / ".venv-hf")).absolute() / "bin" / "python"


BATCH, SEQ, PREDICTIONS = 4, 48, 6


SMALL = {
    "vocab_size": 1000, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128,
    "max_position_embeddings": 64, "hidden_act": "gelu_new",
}  # fmt: skip


def run_side(python: object, script: str, *arguments: object, **environment: str) -> None:
    command = list(map(str, [python, HERE / script, *arguments]))
    result = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]


def torch_side(*arguments: object) -> None:
    if not HF_PYTHON.exists():
        pytest.skip(f"{HF_PYTHON} is not there; 'make test-hf' makes it")
    run_side(HF_PYTHON, "torch_side.py", *arguments, HF_HUB_OFFLINE="1")


def keras_side(backend: str, *arguments: object) -> None:
    paths = os.pathsep.join([str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])])
    run_side(sys.executable, "keras_side.py", *arguments, KERAS_BACKEND=backend, PYTHONPATH=paths)


def write_inputs(path: Path, vocab_size: int) -> None:
    """A batch of random examples, padded to different lengths."""
    rng = np.random.default_rng(0)
    mask = (np.arange(SEQ) < np.array([[SEQ], [30], [11], [7]])).astype(np.int32)
    positions = np.sort(rng.permuted(np.tile(np.arange(1, 7), (BATCH, 1)), axis=1)[:, :PREDICTIONS], axis=1)
    weights = (np.arange(PREDICTIONS) < np.array([[6], [5], [2], [1]])).astype(np.float32)
    np.savez(
        path,
        input_ids=rng.integers(vocab_size, size=(BATCH, SEQ), dtype=np.int32) * mask,
        input_mask=mask,
        segment_ids=rng.integers(2, size=(BATCH, SEQ), dtype=np.int32) * mask,
        masked_lm_positions=(positions * weights).astype(np.int32),
        masked_lm_ids=(rng.integers(vocab_size, size=(BATCH, PREDICTIONS)) * weights).astype(np.int32),
        masked_lm_weights=weights,
        next_sentence_labels=rng.integers(2, size=(BATCH, 1), dtype=np.int32),
    )
