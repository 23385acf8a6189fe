"""What a model knows after so many minutes: beside Hugging Face's BERT, pre-trained with PyTorch on the same examples.

    HF_VENV=.venv-hf python benchmarks/bench_pretrain.py DATASET [--bert-config mini] [--minutes 5 15] [--seeds 3]
        [--side maskmill "transformers 5e-5" ...] [--seconds-per-step 0.43 0.61] [--log runs.jsonl]

DATASET is a folder that `maskmill generate` wrote with --eval-fraction; pairs are learned by BertForPreTraining, single
segments (`--objective mlm`) by BertForMaskedLM. Both sides have the same shape, batches and number of examples in a
batch; maskmill has its defaults, and transformers those of its Trainer: AdamW, 5e-5, which falls linearly, float32,
dropout and first weights of BERT. "transformers 5e-4" has maskmill's rate for `mini` and its warm-up instead.

First measures the seconds of a step of each side, on a machine that has nothing else to do, and takes as many steps as
fit into the minutes; --seconds-per-step gives those of maskmill and of transformers, measured before, so that the
machine may then be busy. Prints a Markdown table: held-out metrics, the mean over the seeds and the largest distance
from it. Each run that is done is a line of the --log: the same command goes on there.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import needs
import numpy as np

from maskmill.model.bert.config import BertConfig
from maskmill.model.pretraining.batches import eval_batches, train_batches
from maskmill.model.pretraining.recipes import RECIPES
from maskmill.pipeline.dataset.dataset import Dataset

MASKMILL = "maskmill"
RATES = {"transformers 5e-5": (5e-5, 0.0), "transformers 5e-4": (5e-4, 0.1)}  # and the share of warm-up
METRICS = ("masked_lm_loss", "masked_lm_accuracy", "next_sentence_accuracy")
WARM_UP, MEASURED = 20, 100  # steps of maskmill, when its speed is measured


def run_maskmill(dataset: Path, options: argparse.Namespace, steps: int, seed: int) -> dict[str, float]:
    """The commands of the README."""
    with tempfile.TemporaryDirectory() as folder:
        train = ["train", dataset, "--model-dir", folder, "--bert-config", options.bert_config]
        call_maskmill(*train, "--num-train-steps", steps, "--random-seed", seed)
        call_maskmill("evaluate", dataset, "--model-dir", folder)
        lines = (Path(folder) / "eval_results.txt").read_text().splitlines()
    found = dict(line.split(" = ") for line in lines if " = " in line)
    return {name: float(found.get(name, "nan")) for name in METRICS}


def call_maskmill(*arguments: Any) -> None:
    command = [sys.executable, "-c", "from maskmill.deploy.cli import main; main()", *map(str, arguments)]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)


def time_maskmill(dataset: Path, options: argparse.Namespace) -> float:
    """Seconds of a step, without the first ones and without starting up."""
    took = []
    for steps in (WARM_UP, WARM_UP + MEASURED):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            train = ["train", dataset, "--model-dir", folder, "--bert-config", options.bert_config]
            call_maskmill(*train, "--num-train-steps", steps)
            took.append(time.monotonic() - began)
    return (took[1] - took[0]) / MEASURED


def run_transformers(dataset: Path, side: str, options: argparse.Namespace, steps: int, seed: int) -> dict[str, float]:
    """The same on the other side: held-out metrics; or, for 0 steps, the seconds of a step."""
    opened = Dataset.open(dataset)
    info = opened.info
    rate, warmup = RATES[side]
    size = RECIPES[options.bert_config].train_batch_size
    bert = BertConfig.preset(options.bert_config, info.vocab_size)
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    settings = {
        "shape": {name: getattr(bert, name) for name in names} | {"hidden_act": "gelu_new"},
        "has_pairs": info.objective != "mlm",
        "learning_rate": rate,
        "warmup_steps": int(warmup * steps),
        "num_train_steps": steps or 1000,
        "random_seed": seed,
        "measures_speed": not steps,
    }
    with closing(train_batches(opened, size, seed)) as batches:
        arrays: dict[str, Any] = stack("train_", itertools.islice(batches, steps or 100))
    with closing(eval_batches(opened, 1, "eval")) as batches:  # one each: none is filled up
        arrays |= stack("eval_", batches)
    script = Path(__file__).with_name("pretrain_torch.py")
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file, **arrays)
        file.flush()
        command = [str(needs.TORCH_PYTHON), str(script), file.name, json.dumps(settings)]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(printed.splitlines()[-1])


def stack(part: str, batches: Any) -> dict[str, np.ndarray]:
    """Batches in one array of each feature, [batches, batch, ...]."""
    rows: dict[str, list[np.ndarray]] = defaultdict(list)
    for batch in batches:
        for name, values in batch.items():
            rows[part + name].append(values)
    return {name: np.stack(values) for name, values in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--bert-config", choices=RECIPES, default="mini")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0, 15.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", choices=[MASKMILL, *RATES], nargs="+", default=[MASKMILL, *RATES])
    parser.add_argument("--seconds-per-step", type=float, nargs=2, metavar=("MASKMILL", "TRANSFORMERS"))
    parser.add_argument("--log", type=Path, help="a file that keeps each run that is done")
    options = parser.parse_args()
    needs.require(options.dataset / "dataset_info.json")
    if not needs.TORCH_PYTHON.exists():
        raise SystemExit(f"{needs.TORCH_PYTHON} is missing; 'make test-hf' installs it, or set HF_VENV")
    dataset = options.dataset
    ours, theirs = options.seconds_per_step or (
        time_maskmill(dataset, options),
        run_transformers(dataset, "transformers 5e-5", options, 0, 1)["seconds_per_step"],
    )
    print(f"seconds of a step: maskmill {ours:.3f}, transformers {theirs:.3f}", flush=True)
    done = {}
    if options.log and options.log.exists():
        done = {json.dumps(line["run"]): line["metrics"] for line in map(json.loads, options.log.open())}
    results = defaultdict(list)
    for seed, minutes, side in product(range(1, options.seeds + 1), options.minutes, options.side):
        steps = int(minutes * 60 / (ours if side == MASKMILL else theirs))
        described = {"dataset": str(dataset), "shape": options.bert_config, "side": side, "steps": steps, "seed": seed}
        if (name := json.dumps(described)) not in done:
            is_ours = side == MASKMILL
            done[name] = (
                run_maskmill(dataset, options, steps, seed)
                if is_ours
                else run_transformers(dataset, side, options, steps, seed)
            )
            if options.log:
                with options.log.open("a") as file:
                    file.write(json.dumps({"run": described, "metrics": done[name]}) + "\n")
        results[minutes, side, steps].append(done[name])
    print(f"| minutes | side | steps | {' | '.join(METRICS)} |\n|{'---|' * (3 + len(METRICS))}")
    for (minutes, side, steps), found in sorted(results.items()):
        told = " | ".join(spread([metrics[name] for metrics in found]) for name in METRICS)
        print(f"| {minutes:g} | {side} | {steps:,} | {told} |")


def spread(values: list[float]) -> str:
    """The mean, and the largest distance from it."""
    mean = sum(values) / len(values)
    return f"{mean:.3f} ± {max(abs(value - mean) for value in values):.3f}"


if __name__ == "__main__":
    main()
