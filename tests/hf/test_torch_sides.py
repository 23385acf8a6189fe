"""The sides of the benchmarks that run on PyTorch, each once on the smallest model; the others are in `make test`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_transformers import HF_PYTHON

pytestmark = [
    pytest.mark.hf,
    pytest.mark.skipif(not HF_PYTHON.exists(), reason=f"{HF_PYTHON} is missing; 'make test-hf' installs it"),
]
BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.mark.parametrize(
    ("script", "options", "row"),
    [
        ("bench_train.py", ["--only", "torch, bfloat16, dropout 0.1"], "| torch, bfloat16, dropout 0.1 | "),
        ("bench_embed.py", ["--texts", "20", "--only", "tensorflow float32", "torch float32 sorted"],
         "| torch, float32, sorted | "),
    ],
)  # fmt: skip
def test_a_benchmark_measures_pytorch_beside_us(script, options, row):
    command = [sys.executable, BENCHMARKS / script, "tiny", "--rounds", "1", *options]
    environment = {**os.environ, "HF_VENV": str(HF_PYTHON.parent.parent)}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr[-4000:]
    assert row in printed.stdout
