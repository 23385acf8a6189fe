"""What pruning costs, and what chooses best: losses by share and by what chose, then one model trained on.

    python benchmarks/bench_prune.py DATASET --model-dir MODEL [--precision bfloat16] [--recovery-steps 500]

MODEL is a folder that 'maskmill train' wrote on DATASET, which has an eval split. Prints two Markdown tables.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from maskmill.model.formats.model_dir import load_model
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.evaluate import measure
from maskmill.model.pretraining.train import Start, train
from maskmill.model.pruning.config import PruneConfig
from maskmill.model.pruning.pretrained import PruneSource, prune
from maskmill.pipeline.dataset.dataset import Dataset

SHARES = ((0.25, 0.0), (0.5, 0.0), (0.0, 0.25), (0.0, 0.5), (0.5, 0.5))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--model-dir", required=True)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--recovery-steps", type=int, default=500)
    parser.add_argument("--learning-rate", type=float, default=TrainConfig.learning_rate)
    arguments = parser.parse_args()
    recovery = TrainConfig(
        num_train_steps=arguments.recovery_steps,
        num_warmup_steps=arguments.recovery_steps // 10,
        learning_rate=arguments.learning_rate,
        precision=arguments.precision,
    )
    source = PruneSource(arguments.dataset, arguments.model_dir)
    print("| --heads | --ffn | whole | taylor | magnitude | random |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for heads, ffn in SHARES:
            output = Path(folder, f"{heads}-{ffn}")
            pruning = prune(source, output, PruneConfig(heads, ffn), recovery)
            losses = " | ".join(f"{loss:.3f}" for loss in pruning["loss_by_importance"].values())
            print(f"| {heads} | {ffn} | {pruning['before']['loss']:.3f} | {losses} |", flush=True)
        config = load_model(output)[0].config
        train(arguments.dataset, output, config, recovery, start=Start(arguments.model_dir))
        recovered = {**pruning["after"], **measure(Dataset.open(arguments.dataset), output).metrics}
    columns = pruning["before"], pruning["after"], recovered
    print(f"\n| | whole | pruned by taylor | after {arguments.recovery_steps:,} steps |\n|---|---|---|---|")
    print(f"| heads and units in each layer | | {config.heads}, {config.units} | |")
    for name in ("num_weights", "weight_bytes", "train_bytes"):
        print(f"| {name} | {' | '.join(f'{values[name]:,}' for values in columns)} |")
    times = [f"{1000 * values['seconds_per_sequence']:.3f}" for values in columns]
    print(f"| ms for a sequence | {' | '.join(times)} |")
    for name in ("loss", "masked_lm_accuracy", "next_sentence_accuracy"):
        print(f"| {name} | {' | '.join(f'{values[name]:.4f}' for values in columns)} |")


if __name__ == "__main__":
    main()
