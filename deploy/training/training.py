"""`train` at work: a training with a bar, or a line now and then."""

import os
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maskmill.deploy.engines.memory import machine_memory
from maskmill.deploy.terminal.messages import warn
from maskmill.deploy.terminal.numbers import duration
from maskmill.deploy.terminal.progress import Bar
from maskmill.deploy.terminal.tables import new_talk
from maskmill.deploy.training.train import TrainRequest
from maskmill.deploy.training.training_time import A_DAY, A_MINUTE, SECONDS_TO_MEASURE, describe_time
from maskmill.model.bert.config import BERT_CONFIG, BertConfig
from maskmill.model.pretraining.config import TrainConfig
from maskmill.model.pretraining.recipes import GOOGLE, RECIPES, settle
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.storage.mirror import mirror
from maskmill.pipeline.storage.storage import list_names

if TYPE_CHECKING:
    from maskmill.model.training.meter import TrainProgress

WIDE = 120  # columns of a terminal on which nothing needs to be shortened


def train_model(request: TrainRequest) -> None:
    """Trains with a bar, or with a line now and then where there is no terminal; then draws the curve of the loss."""
    from maskmill.model.pretraining.batches import require_examples
    from maskmill.model.pretraining.description import recorded_recipe
    from maskmill.model.pretraining.train import Start, train
    from maskmill.model.training.distribution import is_first_process, leaving_alone
    from maskmill.model.training.loop import Hooks
    from maskmill.model.training.profiling import PROFILE

    console = new_talk(quiet=not is_first_process())
    datasets, model_dir, init_checkpoint = request.datasets, request.model_dir, request.init_checkpoint
    recipe = request.recipe
    if recipe in RECIPES.values():  # of the preset of today; a training that was begun goes on as it began
        recipe = recorded_recipe(model_dir) or recipe
    train_config, changes = settle(request.settings, recipe)
    opened = [phase.open() for phase in datasets]
    infos = [dataset.info for dataset in opened]
    batch_size = train_config.train_batch_size
    for dataset in opened:
        require_examples(dataset, "train", batch_size)
    longest = max(infos, key=lambda info: info.max_seq_length)
    config = replace(choose_config(longest, model_dir, request.bert_config, init_checkpoint), **changes)
    name = request.bert_config or init_checkpoint or "base"
    console.print(f"Training BERT {name} ({config.num_hidden_layers} layers of {config.hidden_size})")
    if recipe != GOOGLE and request.recipe in RECIPES.values() and (chosen := recipe.describe(request.settings)):
        console.print(f"{name} sets {chosen}; --recipe google sets Google's values")
    for dataset, phase in zip(opened, datasets):
        console.print(describe_phase(dataset, phase.num_train_steps, batch_size, train_config.max_time is None))
    if is_first_process() and (warning := describe_want_of_memory(config, train_config, longest)):
        warn(warning)
    started = time.monotonic()
    with Bar(console, "compiling", is_short=True) as bar:
        num_train_steps, measured_since = 0, 0.0

        def begin(steps: int) -> None:
            nonlocal num_train_steps
            num_train_steps = steps
            if train_config.max_time is not None:
                passes = steps * batch_size / (infos[0].examples_of("train") * infos[0].copies_of_pass)
                console.print(f"{steps:,} steps fit into {duration(train_config.max_time)}: {passes:.3g} passes")

        def report(now: "TrainProgress") -> None:
            numbers = describe_progress(now, is_short=console.width < WIDE)
            bar.draw(describe_steps(now), now.step, now.num_train_steps, numbers)
            bar.print_line(f"{describe_steps(now)}: {describe_progress(now)}")
            nonlocal measured_since
            if not now.sequences_per_second:  # the first step, which compiled
                measured_since = time.monotonic()
            elif measured_since and time.monotonic() - measured_since >= SECONDS_TO_MEASURE:
                measured_since = 0.0
                tell = warn if now.seconds_left >= A_DAY else console.print
                if now.seconds_left >= A_MINUTE and is_first_process():
                    tell(describe_time(now, config, longest))

        def tell_evaluation(step: int, metrics: dict[str, float], is_best: bool) -> None:
            values = ", ".join(f"{name} {value:,.4f}" for name, value in metrics.items())
            console.print(f"step {step:,}, held-out documents: {values}{' (the best so far)' if is_best else ''}")

        start = Start(init_checkpoint, request.resize_embeddings) if init_checkpoint else None
        try:
            with leaving_alone(), mirror(model_dir, sends=is_first_process(), trains=True) as folder:
                hooks = Hooks(report, tell_evaluation, folder.send_if_possible, begin)
                step = train(datasets, folder.local, config, train_config, hooks, start, request.profile)
                curve = draw_curve(folder.local)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"Stopped; the same command goes on from the last checkpoint in {model_dir}, if there is one."
            ) from None
    seconds = time.monotonic() - started
    if step < num_train_steps:
        console.print(
            f"Stopped after step {step:,} of {num_train_steps:,}, which is saved in {model_dir}; "
            "the same command goes on"
        )
        return
    if curve:
        console.print(curve)
    if request.profile:
        console.print(
            f"The trace is in {os.path.join(model_dir, PROFILE)}; see it with: tensorboard --logdir {model_dir}"
        )
    console.print(f"Wrote {model_dir}: {step:,} steps, in {seconds:.0f} s; the curve is in training.png")


def describe_phase(dataset: Dataset, steps: int | None, train_batch_size: int, tells_passes: bool = True) -> str:
    """What a phase trains on, and how the examples that do not fill a batch are used."""
    info = dataset.info
    copies, examples = info.copies_of_pass, info.examples_of("train")
    of_pass = copies * examples
    whole, rest = divmod(of_pass, train_batch_size)
    batches = whole + bool(rest)
    passes = f"; {(steps or batches) * train_batch_size / of_pass:.3g} passes" if tells_passes else ""
    if info.format == "tokens":
        said = f"{examples:,} examples of {info.max_seq_length} tokens in each copy; {copies} copies are a pass"
        return f"{dataset.directory}: {'about ' if dataset.changes else ''}{said}{passes}"
    filled = f", the last filled up with {train_batch_size - rest:,} of the next pass" if rest else ""
    said = f"{examples:,} examples of {info.max_seq_length} tokens, {batches:,} batches of {train_batch_size:,}"
    return f"{dataset.directory}: {said}{filled}{passes}"


def choose_config(
    info: DatasetInfo, model_dir: str, bert_config: str | None, init_checkpoint: str | None
) -> BertConfig:
    """The shape of the model: as given, else that of a checkpoint to begin with, else BERT base.

    That of a checkpoint with as many tokens and positions as the dataset has; whether these may differ, `initialize`
    says.
    """
    from maskmill.model.formats.checkpoint_formats import config_beside
    from maskmill.model.training.checkpoint import step_of

    if bert_config or not init_checkpoint:
        return BertConfig.load(bert_config or "base", info.vocab_size)
    goes_on = any(step_of(name) is not None for name in list_names(model_dir))
    if goes_on:  # and the checkpoint to begin with may be gone
        return BertConfig.load(os.path.join(model_dir, BERT_CONFIG), info.vocab_size)
    config = config_beside(init_checkpoint, info.vocab_size)
    positions = max(config.max_position_embeddings, info.max_seq_length)
    return replace(config, vocab_size=info.vocab_size, max_position_embeddings=positions)


def describe_want_of_memory(config: BertConfig, train_config: TrainConfig, longest: DatasetInfo) -> str | None:
    """What to say where a step cannot fit into the memory of this machine; None where it may, or a device has its own.

    Said beforehand: Linux promises more memory than there is, then kills the process without a word.
    """
    from maskmill.model.training.flops import is_on_cpu
    from maskmill.model.training.memory import state_bytes, step_bytes

    sequences = train_config.train_batch_size // train_config.gradient_accumulation_steps
    lengths = longest.max_seq_length, longest.max_predictions_per_seq
    needed = step_bytes(config, train_config.precision, sequences, *lengths)
    memory = machine_memory()
    if needed < memory or not is_on_cpu():
        return None
    way_out = "more --gradient-accumulation-steps, a smaller --train-batch-size, or --precision bfloat16"
    if state_bytes(config) >= memory:
        way_out = "a smaller --bert-config"
    return (
        f"A step needs {needed / 1e9:,.0f} GB of memory or more, this machine has {memory / 1e9:,.0f} GB: the system "
        f"may kill this process. Give {way_out}."
    )


def describe_steps(now: "TrainProgress") -> str:
    """The steps that are done, and the time that the others take."""
    left = f", {timedelta(seconds=round(now.seconds_left))} left" if now.sequences_per_second else ""
    return f"step {now.step:,} of {now.num_train_steps:,}{left}"


def describe_progress(now: "TrainProgress", is_short: bool = False) -> str:
    """Loss, accuracies and speed in a line; in short one of less than 80 characters."""
    masked_lm, next_sentence, sequences = (
        ("MLM", "NSP", "seq/s") if is_short else ("masked_lm_accuracy", "next_sentence_accuracy", "sequences/s")
    )
    said = [f"loss {now.loss:.3f}", f"{masked_lm} {now.metrics['masked_lm_accuracy']:.3f}"]
    if "next_sentence_accuracy" in now.metrics:
        said.append(f"{next_sentence} {now.metrics['next_sentence_accuracy']:.3f}")
    if now.sequences_per_second:
        speed = f"{now.sequences_per_second:,.{0 if now.sequences_per_second >= 100 else 1}f}"
        said += [f"{speed} {sequences}", f"{now.tokens_per_second:,.0f} tokens/s", f"MFU {now.mfu:.0%}"]
    return ", ".join(said)


def draw_curve(model_dir: Path) -> str | None:
    """The loss over the steps, drawn in characters; None where there are fewer than two."""
    from uniplot import plot_to_string

    from maskmill.model.training.metrics_log import read_metrics

    rows = [row for row in read_metrics(model_dir) if "loss" in row]  # the others are of evaluations
    if len(rows) < 2:
        return None
    steps, losses = (np.array([row[name] for row in rows]) for name in ("step", "loss"))
    return str(plot_to_string(xs=steps, ys=losses, title="loss by step", lines=True, width=72, height=12))
