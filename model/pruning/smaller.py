"""From a trained model, whatever it was trained for, to the folder of a smaller one, with figures of both."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Generic, Protocol, get_args

import numpy as np

from maskmill.model.bert.config import BertConfig, ComputeDtype
from maskmill.model.pruning.choice import Kept, Model, choose, choose_in_rounds, closed_gates, prune_config, prune_model
from maskmill.model.pruning.config import Importance, PruneConfig
from maskmill.model.pruning.importance import TaylorMeasure, draw_random, measure_magnitude
from maskmill.model.training.memory import state_bytes, want_of_memory
from maskmill.model.training.step import Batch, Losses, compiled, eval_step
from maskmill.pipeline.storage.local_claims import create_folder
from maskmill.pipeline.storage.storage import read_at_most, write_text
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import MAX_BYTES, brief, parse_sealed, require_types, seal_versioned

PRUNING = "pruning.json"
# What is read of a file: of both models, and of the pruned one by each importance.
_FIGURES = {
    "before": dict[str, float], "after": dict[str, float], "loss_by_importance": dict[str, float],
    "kept": list[dict[str, list[int]]],
}  # fmt: skip
_SIZES = ("heads", "units", "num_weights", "weight_bytes", "train_bytes")
_TAYLOR_BATCH_SIZE = 32
_ROUNDS = 7  # of timing


class Prunable(Protocol, Generic[Model]):
    """A model to prune, with what it is measured on."""

    model: Model
    precision: ComputeDtype  # of the pruned model
    num_examples: int  # to train on

    def train_batches(self, batch_size: int, random_seed: int) -> Generator[Batch, None, None]:
        """Batches of what it trains on, full ones, for ever."""

    def batch(self) -> Batch:
        """One of what it is evaluated on, to take the time of."""

    def evaluate(self, run_step: Callable[[Batch], Losses]) -> dict[str, float]:
        """The metrics, `loss` among them, of a compiled evaluation step."""

    def write(self, folder: Path, pruned: Model, metrics: dict[str, float]) -> None:
        """Makes the folder of the pruned model, which has these metrics, as before the first step of its recovery."""


def prune_to_folder(
    subject: Prunable[Model], output: Path, config: PruneConfig, request: dict[str, Any]
) -> dict[str, Any]:
    """Writes what is left of a model as a folder -> the content of its `pruning.json`: the request, choice and figures.

    Writes the folder whole or not at all. Raises InputError when it is not empty, or when nothing would be removed.
    """
    with create_folder(output) as folder:
        with want_of_memory("a batch of sequences", "a smaller model"):
            pruned, figures = _prune(subject, config)
        subject.write(folder, pruned, figures["after"])
        write_text(folder / PRUNING, seal_versioned({**request, **figures}))
    return {**request, **figures}


def read_pruning(folder: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """The content of the `pruning.json` in a folder, None where it has none.

    Raises InputError when it is damaged, or came from another request.
    """
    path = folder / PRUNING
    if not path.exists():
        return None
    way_out = "prune into a new folder"
    pruning = parse_sealed(read_at_most(path, MAX_BYTES), path, way_out)
    require_types(pruning, {**dict.fromkeys(request, Any), **_FIGURES}, path, way_out)
    for name in ("before", "after"):
        require_types(pruning[name], dict.fromkeys((*_SIZES, "seconds_per_sequence"), float), path, way_out)
    for layer in pruning["kept"]:
        require_types(layer, dict.fromkeys(("heads", "units"), list[int]), path, way_out)
    if differs := next((name for name, value in request.items() if pruning[name] != value), None):
        raise InputError(
            f"was pruned with {differs} {brief(pruning[differs])}, this time it is {request[differs]}",
            way_out="repeat that one to go on with it, or give another output",
            path=folder,
        )
    return pruning


def _prune(subject: Prunable[Model], config: PruneConfig) -> tuple[Model, dict[str, Any]]:
    """The smaller model, and the figures of `pruning.json`."""
    model = subject.model
    # How many go does not depend on which, and to measure these takes long.
    if prune_config(model.config, _choose("random", subject, config)) == model.config:
        raise InputError(
            f"heads {config.heads} and ffn {config.ffn} remove nothing of {sum(model.config.heads)} heads and "
            f"{sum(model.config.units):,} units, of which each layer keeps one",
            way_out="give a larger share",
        )
    choices = {name: _choose(name, subject, config) for name in get_args(Importance)}
    kept = choices[config.importance]
    pruned = prune_model(model, kept, subject.precision)
    steps = {"before": eval_step(model), "after": eval_step(pruned)}
    gated = compiled(model.trainable_variables, lambda gates, batch: model.call(batch, gates=gates))
    metrics = {name: subject.evaluate(step) for name, step in steps.items()}
    losses = {config.importance: metrics["after"]["loss"]}
    for name in choices.keys() - losses.keys():
        losses[name] = subject.evaluate(partial(gated, closed_gates(model.config, choices[name])))["loss"]
    seconds = dict(zip(steps, time_in_turns(list(steps.values()), subject.batch())))
    figures = {
        name: {**_sizes(one.config), "seconds_per_sequence": seconds[name], **metrics[name]}
        for name, one in (("before", model), ("after", pruned))
    }
    layers = [{"heads": heads.tolist(), "units": units.tolist()} for heads, units in kept]
    return pruned, {"kept": layers, **figures, "loss_by_importance": {name: losses[name] for name in choices}}


def _choose(name: Importance, subject: Prunable[Model], config: PruneConfig) -> Kept:
    """What stays by one of the measures."""
    model = subject.model
    if name == "random":
        scores = draw_random(model.config, np.random.default_rng(config.random_seed))
    elif name == "magnitude":
        scores = measure_magnitude({name: np.asarray(x) for name, x in model.named_weights.items()}, model.config)
    else:
        with closing(subject.train_batches(_TAYLOR_BATCH_SIZE, config.random_seed)) as batches:
            measure = TaylorMeasure(
                lambda gates, batch: model.metrics_of(model.sums(batch, gates=gates))["loss"],
                model.trainable_variables,
                batches,
                min(config.num_examples, subject.num_examples),
            )
            return choose_in_rounds(measure, model.config, config.heads, config.ffn, config.rounds)
    return choose(scores, config.heads, config.ffn)


def time_in_turns(steps: Sequence[Callable[[Batch], Losses]], batch: Batch) -> list[float]:
    """Seconds that each step takes for a sequence of a batch: the median of some rounds, in which they take turns."""

    def seconds(step: Callable[[Batch], Losses]) -> float:
        start = time.perf_counter()
        np.asarray(next(iter(step(batch).values())))  # waits for the device
        return (time.perf_counter() - start) / len(batch["input_ids"])

    rounds = [[seconds(step) for step in steps] for _ in range(1 + _ROUNDS)][1:]  # the first may compile
    return [median(times) for times in zip(*rounds)]


def _sizes(config: BertConfig) -> dict[str, int]:
    weights = config.num_weights
    return dict(zip(_SIZES, (sum(config.heads), sum(config.units), weights, 4 * weights, state_bytes(config))))
