"""What a training learns from different first weights, on held-out documents, over several seeds.

    python benchmarks/bench_first_weights.py DATASET [--bert-config tiny] [--num-train-steps 1000] [--seeds 1,2,3]
        [--variants google,bert,neighbours] [--set learning_rate=2e-3 ...] [--picture FILE.png]

DATASET is a folder that `maskmill generate` wrote with --eval-fraction. Every variant takes the same steps on the same
batches; all but `google` are trained by the recipe of the preset. Prints a Markdown table: held-out masked-token loss
and accuracy, the mean over the seeds and the largest distance from it. With --picture, draws where a head of the first
layer looks at step 0, and the accuracy over the steps of the first seed.
"""

import argparse
import ast
import itertools
import os
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from maskmill.model.bert.config import BertConfig
from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.bert.first_weights import NeighbourStart, begin_with_neighbours
from maskmill.model.bert.heads import SUMS, metrics_of
from maskmill.model.pretraining.batches import eval_batches, train_batches
from maskmill.model.pretraining.phases import adam_settings
from maskmill.model.pretraining.recipes import GOOGLE, RECIPES, settle
from maskmill.model.training.optimization import AdamWeightDecay, Schedule
from maskmill.model.training.step import eval_step, train_step
from maskmill.pipeline.dataset.dataset import Dataset

# What a variant gives besides the recipe: options of a training, and how the neighbour start is made.
VARIANTS: dict[str, tuple[dict[str, Any], NeighbourStart]] = {
    "google": ({}, NeighbourStart()),
    "bert": ({"first_weights": "bert"}, NeighbourStart()),
    "neighbours": ({}, NeighbourStart()),
    "half of the dimensions": ({}, NeighbourStart(share=0.5)),
    "a quarter": ({}, NeighbourStart(share=0.25)),
    "an eighth": ({}, NeighbourStart(share=0.125)),
    "a sixteenth": ({}, NeighbourStart(share=0.0625)),
    "99 % of the attention": ({}, NeighbourStart(attention=0.99)),
    "90 %": ({}, NeighbourStart(attention=0.9)),
    "80 %": ({}, NeighbourStart(attention=0.8)),
    "next tokens alone": ({}, NeighbourStart(offsets=(-1, 1))),
    "up to four away": ({}, NeighbourStart(offsets=(-1, 1, -2, 2, -3, 3, -4, 4))),
    "adamw": ({"optimizer": "adamw"}, NeighbourStart()),
}
POINTS = 50  # of the curve


@dataclass(frozen=True)
class Run:
    """What a training came to."""

    loss: float
    accuracy: float
    curve: list[tuple[int, float]]  # step, and the accuracy in training over the steps before it
    attention: np.ndarray  # of the first head at step 0, [from_seq, to_seq]


def train(dataset: Path, preset: str, settings: dict[str, Any], start: NeighbourStart, is_google: bool) -> Run:
    """Trains as `maskmill train` does, but writes nothing."""
    opened = Dataset.open(dataset)
    info = opened.info
    config, changes = settle(settings, GOOGLE if is_google else RECIPES.get(preset, GOOGLE))
    bert = replace(BertConfig.preset(preset, info.vocab_size), **changes)
    model = BertPretrainer(bert, config.random_seed, config.precision)
    if config.first_weights == "neighbours":
        begin_with_neighbours(model, start)
    attention = attention_of(model, next(eval_batches(opened, 8, "eval")))
    steps = config.num_train_steps or 0
    optimizer = AdamWeightDecay(
        model.named_weights, Schedule(config.learning_rate, steps, steps // 10), adam_settings(config)
    )
    run_step, curve, sums = train_step(model, optimizer, config.random_seed), [], dict.fromkeys(SUMS, 0.0)
    with closing(train_batches(opened, config.train_batch_size, config.random_seed)) as batches:
        for step, batch in enumerate(itertools.islice(batches, steps), start=1):
            add(sums, run_step(batch))
            if step % max(1, steps // POINTS) == 0:
                curve.append((step, float(metrics_of(sums)["masked_lm_accuracy"])))
                sums = dict.fromkeys(SUMS, 0.0)
    run_eval, sums = eval_step(model), dict.fromkeys(SUMS, 0.0)
    with closing(eval_batches(opened, 64, "eval")) as batches:
        for batch in batches:
            add(sums, run_eval(batch))
    metrics = metrics_of(sums)
    return Run(float(metrics["masked_lm_loss"]), float(metrics["masked_lm_accuracy"]), curve, attention)


def add(sums: dict[str, float], losses: dict[str, Any]) -> None:
    for name in SUMS:
        sums[name] += float(losses[name])


def attention_of(model: BertPretrainer, batch: dict[str, np.ndarray]) -> np.ndarray:
    """Where the first head of the first layer looks, on the first example: [from_seq, to_seq]."""
    inputs = (batch[name] for name in ("input_ids", "input_mask", "segment_ids"))
    return np.asarray(model.encoder.all_layers(*inputs)[1][0])[0, 0]


def draw(runs: dict[str, Run], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    *maps, curves = figure.subplots(1, 3, width_ratios=[1, 1, 1.6])
    for axes, name in zip(maps, ("bert", "neighbours")):
        axes.imshow(runs[name].attention[:24, :24], cmap="Blues", vmin=0, vmax=1)
        axes.set(title=f"attention, {name}", xlabel="looks at", ylabel="token")
    for name, run in runs.items():
        curves.plot(*zip(*run.curve), label=name)
    curves.set(title="masked_lm_accuracy", xlabel="step")
    curves.grid(alpha=0.3)
    curves.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--bert-config", default="tiny")
    parser.add_argument("--num-train-steps", type=int, default=1000)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--variants", default="google,bert,neighbours")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="options of every training")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    given = dict(pair.split("=") for pair in arguments.set)
    common = {name: parse(value) for name, value in given.items()} | {"num_train_steps": arguments.num_train_steps}
    print("| variant | masked_lm_loss | masked_lm_accuracy |\n|---|---|---|", flush=True)
    first: dict[str, Run] = {}
    for name in arguments.variants.split(","):
        settings, start = VARIANTS[name]
        settings = {"precision": "bfloat16", **common, **settings}
        runs = [
            train(arguments.dataset, arguments.bert_config, {**settings, "random_seed": seed}, start, name == "google")
            for seed in map(int, arguments.seeds.split(","))
        ]
        first[name] = runs[0]
        columns = (spread([run.loss for run in runs]), spread([run.accuracy for run in runs]))
        print(f"| {name} | {' | '.join(columns)} |", flush=True)
    if arguments.picture:
        draw(first, arguments.picture)


def parse(value: str) -> Any:
    """A number, or a word as it is."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def spread(values: list[float]) -> str:
    """The mean, and the largest distance from it."""
    mean = sum(values) / len(values)
    return f"{mean:.3f} ± {max(abs(value - mean) for value in values):.3f}"


if __name__ == "__main__":
    main()
