"""The sides of the benchmarks that run on PyTorch, each once on the smallest model; the others are in `make test`."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hf_sides import HF_PYTHON, SMALL, torch_side, write_inputs

from maskmill.model.tasks.finetune_config import FinetuneConfig

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


def test_finetune_torch_learns_and_tells_the_labels_after_each_epoch(tmp_path):
    write_inputs(tmp_path / "inputs.npz", SMALL["vocab_size"])
    torch_side("make", tmp_path / "hf", json.dumps(SMALL), tmp_path / "inputs.npz", tmp_path / "torch.npz")
    labels = np.arange(64, dtype=np.int32) % 2
    mask = (np.arange(8) < 4 + np.arange(64)[:, None] % 5).astype(np.int32)
    ids = np.random.default_rng(0).integers(5, 900, (64, 8)).astype(np.int32)
    ids[:, 1] = 990 + labels
    rows = {"input_ids": ids * mask, "input_mask": mask, "segment_ids": np.zeros_like(ids)}
    rows = {f"{part}_{name}": values for part in ("train", "eval") for name, values in rows.items()}
    np.savez(tmp_path / "rows.npz", train_labels=labels, **rows)
    config = asdict(FinetuneConfig(num_train_epochs=12, learning_rate=1e-3, precision="bfloat16"))
    command = [HF_PYTHON, BENCHMARKS / "finetune_torch.py", tmp_path / "hf", tmp_path / "rows.npz", json.dumps(config)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    epochs = json.loads(printed.splitlines()[-1])
    assert len(epochs) == 12
    assert np.mean(np.array(epochs[-1]) == labels) > 0.9


@pytest.mark.parametrize("has_pairs", [True, False])
def test_pretrain_torch_learns_what_is_always_the_same(tmp_path, has_pairs):
    """Every sequence is one and the same, so that a few steps suffice."""
    batches, batch, predictions = 40, 4, 2
    ids = np.tile(np.arange(10, 18, dtype=np.int32), (batches, batch, 1))
    features = {
        "input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids),
        "masked_lm_positions": np.tile(np.array([2, 0], np.int32), (batches, batch, 1)),
        "masked_lm_ids": np.full((batches, batch, predictions), 30, np.int32),
        "masked_lm_weights": np.tile(np.array([1, 0], np.float32), (batches, batch, 1)),
        "next_sentence_labels": np.ones((batches, batch, 1), np.int32),
    }  # fmt: skip
    np.savez(
        tmp_path / "batches.npz",
        **{f"train_{name}": values for name, values in features.items()},
        **{f"eval_{name}": values[:3] for name, values in features.items()},
    )
    settings = {
        "shape": SMALL, "has_pairs": has_pairs, "learning_rate": 1e-3, "warmup_steps": 4, "num_train_steps": batches,
        "random_seed": 1, "measures_speed": False,
    }  # fmt: skip
    for measures_speed in (False, True):
        settings["measures_speed"] = measures_speed
        command = [HF_PYTHON, BENCHMARKS / "pretrain_torch.py", tmp_path / "batches.npz", json.dumps(settings)]
        printed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        if measures_speed:
            assert 0 < printed["seconds_per_step"] < 10
        else:
            assert printed["masked_lm_loss"] < 4.5  # at first log(1000) = 6.9
            assert printed["masked_lm_accuracy"] == 1
            assert (printed["next_sentence_accuracy"] == 1) == has_pairs
