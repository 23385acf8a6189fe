"""Makes a BERT smaller: chooses which attention heads and feed-forward units stay, and takes their weights."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from maskmill.model.bert.config import BertConfig, ComputeDtype
from maskmill.model.bert.encoder import BertPretrainer, HeadsAndUnits
from maskmill.model.bert.layers import assign
from maskmill.model.pruning.importance import Scores, open_gates
from maskmill.model.tasks.classifier import BertClassifier
from maskmill.model.training.checkpoint import NamedArrays

Model = TypeVar("Model", BertPretrainer, BertClassifier)
Kept = Sequence[HeadsAndUnits]  # of each layer, int64: which of its heads and of its units stay, in their order


def choose(scores: Scores, heads: float, ffn: float) -> list[HeadsAndUnits]:
    """Which heads and units stay when a share of all heads goes, and a share of each layer's units: the lowest scores.

    Heads are ranked over all layers, units within theirs: over all they did no better (benchmarks/README.md), and
    layers of one size can be said in Hugging Face's format. The best of a layer stays whatever its score and share.
    """
    of_heads, of_units = zip(*scores)
    units = [_choose([of_layer], ffn)[0] for of_layer in of_units]
    return [HeadsAndUnits(*layer) for layer in zip(_choose(of_heads, heads), units)]


def choose_in_rounds(
    measure: Callable[[Kept], Scores], config: BertConfig, heads: float, ffn: float, rounds: int
) -> list[HeadsAndUnits]:
    """As `choose`, in so many rounds: each removes as much as the others, and measures in what they left.

    What matters depends on what else is there, which one measure of the whole does not tell (Molchanov et al. 2019
    prune a part at a time, too; benchmarks/README.md has what it gains).

    `measure` takes the gates of what is left, as `closed_gates` makes them.
    """
    kept = [HeadsAndUnits(*map(np.arange, sizes)) for sizes in zip(config.heads, config.units)]
    for number in range(1, rounds + 1):
        gates = closed_gates(config, kept)
        scores = [
            HeadsAndUnits(*(np.where(gate[0] > 0, score, -np.inf) for gate, score in zip(*layers)))
            for layers in zip(gates, measure(gates))
        ]
        kept = choose(scores, heads * number / rounds, ffn * number / rounds)
    return kept


def _choose(scores: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
    """What stays in each group when the lowest scores of all go, but for the best of each group."""
    groups = np.repeat(np.arange(len(scores)), [len(of_group) for of_group in scores])
    flat = np.concatenate(scores)
    best = np.concatenate([np.arange(len(of_group)) == of_group.argmax() for of_group in scores])
    order = np.argsort(np.where(best, np.inf, flat), kind="stable")
    stays = np.ones(len(flat), bool)
    stays[order[: min(round(share * len(flat)), len(flat) - len(scores))]] = False
    return [np.flatnonzero(stays[groups == i]) for i in range(len(scores))]


def prune_config(config: BertConfig, kept: Kept) -> BertConfig:
    """The shape of what is left."""
    return config.with_layers(*(tuple(map(len, parts)) for parts in zip(*kept)))


def prune_weights(weights: NamedArrays, kept: Kept, head_size: int) -> NamedArrays:
    """The weights of a model by name -> those of what is left of it."""
    left = dict(weights)
    for i, (heads, units) in enumerate(kept):
        layer = f"bert/layer_{i}"
        columns = (heads[:, None] * head_size + np.arange(head_size)).ravel()
        for name, places in (*((name, columns) for name in ("query", "key", "value")), ("intermediate", units)):
            for part in ("kernel", "bias"):
                left[f"{layer}/{name}/{part}"] = weights[f"{layer}/{name}/{part}"][..., places]
        for name, places in (("attention_output", columns), ("output", units)):
            left[f"{layer}/{name}/kernel"] = weights[f"{layer}/{name}/kernel"][places]
    return left


def prune_model(model: Model, kept: Kept, compute_dtype: ComputeDtype = "float32") -> Model:
    """A smaller model, which computes what the given one does with the other heads and units at 0."""
    pruned = model.of_shape(prune_config(model.config, kept), compute_dtype)
    weights = {name: np.asarray(weight) for name, weight in model.named_weights.items()}
    left = prune_weights(weights, kept, model.config.head_size)
    for name, variable in pruned.named_weights.items():
        assign(variable, left[name])
    return pruned


def closed_gates(config: BertConfig, kept: Kept) -> list[HeadsAndUnits]:
    """Gates, float32 [1, heads] and [1, units] of each layer, that let through what is kept and nothing else."""
    return [
        HeadsAndUnits(*(np.isin(np.arange(gate.shape[1]), stay).astype(np.float32)[None] for gate, stay in zip(*layer)))
        for layer in zip(open_gates(config, 1), kept)
    ]
