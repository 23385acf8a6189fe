"""From the folder of a trained BERT to that of a smaller one, with figures of both."""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, get_args

import keras
import numpy as np

from model.bert import BertPretrainer
from model.checkpoint import save_checkpoint, state_of
from model.config import BertConfig, Importance, PruneConfig, TrainConfig
from model.dataset import eval_batches, require_examples, train_batches
from model.evaluate import EVAL_BATCH_SIZE, evaluate_split
from model.heads import metrics_of
from model.importance import Scores, draw_random, measure_magnitude, measure_taylor
from model.memory import state_bytes, want_of_memory
from model.model_dir import WhichCheckpoint, describe_training, open_model_dir
from model.optimization import AdamWeightDecay
from model.phases import Plan, check_fits
from model.pruning import choose, closed_gates, prune_config, prune_model
from model.step import Batch, Losses, compiled, eval_step
from model.trained import TrainedBert, open_trained
from pipeline.schema import MANIFEST, VOCAB, DatasetInfo, Split
from pipeline.storage import AnyPath, is_remote, read_bytes, write_text
from tokenizer.errors import InputError

PRUNING = "pruning.json"
_TAYLOR_BATCH_SIZE = 32
_ROUNDS = 7  # of timing

logger = logging.getLogger(__name__)


def prune(
    dataset_dir: AnyPath,
    model_dir: AnyPath,
    output_dir: AnyPath,
    config: PruneConfig,
    train_config: TrainConfig | None = None,
    checkpoint: WhichCheckpoint = "newest",
    split: Split = "eval",
) -> dict[str, Any]:
    """Writes what is left of a model as a model folder -> the content of its `pruning.json`: choice and figures.

    `model_dir` is whatever `open_trained` takes; it is not changed. taylor measures on the train split, losses are
    those of `split`; beside that of the choice stand those of choosing by the other measures.

    `train_config` says how it will be trained further; with its num_train_steps, the folder is that of a training
    before its first step, and `train(dataset_dir, output_dir, its config, train_config, start=Start(model_dir))` takes
    the steps. Without, only its precision matters.

    Writes the folder whole or not at all. Raises InputError when it is not empty, when dataset, model and configuration
    do not fit, or when nothing would be removed.
    """
    output, train_config = Path(output_dir), train_config or TrainConfig()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"output {output} is not empty; give a new or an empty folder")
    info = DatasetInfo.load(dataset_dir, sealed=True)
    for needed in sorted({"train", split}):
        require_examples(info, dataset_dir, needed)
    trained = open_trained(model_dir, checkpoint, train_config.precision)
    for note in trained.notes:
        logger.warning(note)
    _require_fit(trained, info, dataset_dir)
    plan = None
    if train_config.num_train_steps:
        plan = Plan.load([(dataset_dir, train_config.num_train_steps)], trained.model.config, train_config)
    else:
        info.check_files(dataset_dir)
    with want_of_memory(f"a batch of {EVAL_BATCH_SIZE} sequences", "a smaller model"):
        pruned, figures = _prune(trained.model, info, dataset_dir, config, train_config, split)
    request = describe_request(dataset_dir, model_dir, config, train_config.num_train_steps, checkpoint, split)
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    try:
        training = _describe(plan, pruned.config, train_config, trained, request["model_dir"])
        with open_model_dir(unfinished, training, read_bytes(os.path.join(dataset_dir, VOCAB)).decode()):
            save_checkpoint(unfinished, 0, _state(pruned, plan, train_config), keep=1)
            write_text(unfinished / PRUNING, json.dumps({**request, **figures}) + "\n")
        unfinished.replace(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return {**request, **figures}


def describe_request(
    dataset_dir: AnyPath,
    model_dir: AnyPath,
    config: PruneConfig,
    recovery_steps: int | None,
    checkpoint: WhichCheckpoint,
    split: Split,
) -> dict[str, Any]:
    """What was asked for: the part of `pruning.json` by which the same request is known again."""
    return {
        "model_dir": str(model_dir) if is_remote(model_dir) else os.path.abspath(model_dir),
        "checkpoint": checkpoint,
        "dataset_sha256": hashlib.sha256(read_bytes(os.path.join(dataset_dir, MANIFEST))).hexdigest(),
        "split": split,
        "recovery_steps": recovery_steps,
        **asdict(config),
    }


def read_pruning(folder: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """The content of the `pruning.json` in a folder, None where it has none.

    Raises InputError when it is damaged, or came from another request.
    """
    path = folder / PRUNING
    if not path.exists():
        return None
    try:
        pruning: dict[str, Any] = json.loads(path.read_bytes())
        differs = next((name for name, value in request.items() if pruning[name] != value), None)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged; prune into a new folder") from error
    if differs:
        raise InputError(
            f"{folder} was pruned with {differs} {pruning[differs]}, this time it is {request[differs]}; "
            "repeat that one to go on with it, or give another output"
        )
    return pruning


def _require_fit(trained: TrainedBert, info: DatasetInfo, dataset_dir: AnyPath) -> None:
    """Raises InputError when the model cannot be measured on the dataset."""
    if trained.vocab.sha256 != info.vocab_sha256:
        raise InputError(
            f"{dataset_dir} was made with another vocabulary than {trained.path} has; "
            "generate it with --vocab-file and the vocab.txt of the model"
        )
    if trained.cased != info.config["cased"]:
        raise InputError(
            f"{dataset_dir} has cased={info.config['cased']}, {trained.path} has cased={trained.cased}; "
            "generate the dataset as the model's was"
        )
    check_fits(info, dataset_dir, trained.model.config)
    trained.require_head("masked_lm")
    if info.config.get("objective") != "mlm":
        trained.require_head("bert/pooler")
        trained.require_head("next_sentence")


def _prune(
    model: BertPretrainer,
    info: DatasetInfo,
    dataset_dir: AnyPath,
    config: PruneConfig,
    train_config: TrainConfig,
    split: Split,
) -> tuple[BertPretrainer, dict[str, Any]]:
    """The smaller model, and the figures of `pruning.json`."""
    choices = {
        name: choose(_score(name, model, info, dataset_dir, config), config.heads, config.ffn)
        for name in get_args(Importance)
    }
    kept = choices[config.importance]
    if prune_config(model.config, kept) == model.config:
        raise InputError(
            f"heads {config.heads} and ffn {config.ffn} remove nothing of {sum(model.config.heads)} heads and "
            f"{sum(model.config.units):,} units, of which each layer keeps one; give a larger share"
        )
    pruned = prune_model(model, kept, train_config.precision)
    steps = {"before": eval_step(model), "after": eval_step(pruned)}
    gated = compiled(model.trainable_variables, lambda gates, batch: model.sums(batch, gates=gates))

    def evaluate(run_step: Callable[[Batch], Losses]) -> dict[str, float]:
        return evaluate_split(run_step, info, dataset_dir, split, EVAL_BATCH_SIZE)

    metrics = {name: evaluate(step) for name, step in steps.items()}
    losses = {config.importance: metrics["after"]["loss"]}
    for name in choices.keys() - losses.keys():
        losses[name] = evaluate(partial(gated, closed_gates(model.config, choices[name])))["loss"]
    with closing(eval_batches(info, dataset_dir, EVAL_BATCH_SIZE, split)) as batches:
        seconds = dict(zip(steps, time_in_turns(list(steps.values()), next(batches))))
    figures = {
        name: {**_sizes(one.config), "seconds_per_sequence": seconds[name], **metrics[name]}
        for name, one in (("before", model), ("after", pruned))
    }
    layers = [{"heads": heads.tolist(), "units": units.tolist()} for heads, units in kept]
    return pruned, {"kept": layers, **figures, "loss_by_importance": {name: losses[name] for name in choices}}


def _score(
    name: Importance, model: BertPretrainer, info: DatasetInfo, dataset_dir: AnyPath, config: PruneConfig
) -> Scores:
    if name == "random":
        return draw_random(model.config, np.random.default_rng(config.random_seed))
    if name == "magnitude":
        return measure_magnitude({name: np.asarray(x) for name, x in model.named_weights.items()}, model.config)
    with closing(train_batches(info, dataset_dir, _TAYLOR_BATCH_SIZE, config.random_seed)) as batches:
        return measure_taylor(
            lambda gates, batch: metrics_of(model.sums(batch, gates=gates))["loss"],
            model.trainable_variables,
            model.config,
            batches,
            config.num_examples,
        )


def time_in_turns(steps: Sequence[Callable[[Batch], Losses]], batch: Batch) -> list[float]:
    """Seconds that each step takes for a sequence of a batch: the median of some rounds, in which they take turns."""

    def seconds(step: Callable[[Batch], Losses]) -> float:
        start = time.perf_counter()
        float(step(batch)["masked_lm_loss_sum"])  # waits for the device
        return (time.perf_counter() - start) / len(batch["input_ids"])

    rounds = [[seconds(step) for step in steps] for _ in range(1 + _ROUNDS)][1:]  # the first may compile
    return [median(times) for times in zip(*rounds)]


def _sizes(config: BertConfig) -> dict[str, int]:
    return {
        "heads": sum(config.heads),
        "units": sum(config.units),
        "num_weights": config.num_weights,
        "weight_bytes": 4 * config.num_weights,
        "train_bytes": state_bytes(config),
    }


def _describe(
    plan: Plan | None, config: BertConfig, train_config: TrainConfig, trained: TrainedBert, source: str
) -> dict[str, Any]:
    """The content of `training.json`; without a plan, of a training that cannot go on."""
    if plan:
        return describe_training(plan, config, _with_schedule(train_config, plan), source)
    return {
        "backend": keras.backend.backend(),
        "bert_config": config.to_dict(),
        "train_config": asdict(train_config),
        "phases": [],
        "vocab_sha256": trained.vocab.sha256,
        "cased": trained.cased,
        "init_checkpoint": source,
    }


def _state(model: BertPretrainer, plan: Plan | None, train_config: TrainConfig) -> dict[str, keras.Variable]:
    """What the checkpoint holds: the weights, and for a training the state of its optimizer before the first step."""
    if plan is None:
        return model.named_weights
    return state_of(model, AdamWeightDecay(model.named_weights, plan.schedule(train_config)))


def _with_schedule(train_config: TrainConfig, plan: Plan) -> TrainConfig:
    schedule = plan.schedule(train_config)
    return replace(train_config, num_train_steps=schedule.num_train_steps, num_warmup_steps=schedule.num_warmup_steps)
