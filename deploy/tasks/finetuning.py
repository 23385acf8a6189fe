"""`finetune` on the terminal: read and check the rows, train with a bar, show how well the labels are told apart."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console

from maskmill.deploy.tasks.finetune import FinetuneRequest
from maskmill.deploy.terminal.messages import print_json, warn
from maskmill.deploy.terminal.numbers import count
from maskmill.deploy.terminal.progress import Bar
from maskmill.deploy.terminal.tables import new_console, new_table, new_talk, warn_of_unknown
from maskmill.model.formats.names import FINETUNING
from maskmill.model.tasks.finetune_config import FinetuneConfig, FinetuneOptimizer, as_today
from maskmill.pipeline.reading.documents import Rejected, clip
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.reading.rejected import write_rejected
from maskmill.pipeline.storage.mirror import mirror
from maskmill.pipeline.storage.storage import exists, read_bytes, write_text
from maskmill.pipeline.tables.labelled import (
    LabelledTexts,
    count_reasons,
    find_labels,
    list_reasons,
)
from maskmill.tokenizer.json_file import parse_json

if TYPE_CHECKING:
    from maskmill.model.tasks.finetuning import FinetuneOutcome
    from maskmill.model.tasks.metrics import Confusion
    from maskmill.model.tasks.trained import TrainedBert
    from maskmill.model.training.meter import TrainProgress

SEEDS = "seeds.json"
ROWS_LOOKED_AT = 1024  # for whether the vocabulary fits
MOST_COLUMNS = 12  # of a confusion matrix on a terminal


def finetune_model(request: FinetuneRequest, as_json: bool = False) -> None:
    """Fine-tunes a model on a table into a folder; with several seeds into a folder for each below it.

    What the best epoch of each comes to is printed, in tables or `as_json`.
    """
    output, seed = request.output, request.config.random_seed
    config = settle_optimizer(request.config, request.optimizer, output)
    train, held_out, rejected = request.tables.read(seed, is_stratified(output, seed))
    labels = find_labels(train, held_out)
    warn_of_rejected(rejected)
    start = request.source.open()
    show_task(start, train, held_out, labels, config.max_seq_length)
    outcomes = {}
    for seed, outcome in run_seeds(start, train, held_out, output, config, request.seeds):
        outcomes[seed] = outcome
        if not as_json:
            show_outcome(new_console(lasting=True), outcome)
    for number, (path, rows) in enumerate(rejected.items()):
        if rows:
            write_rejected(output, FilePart(path, number=number), rows)
            warn(f"Rejected rows of {path} are listed in {output}")
    if 1 < request.seeds == len(outcomes):
        _write_seeds(output, outcomes, shows=not as_json)
        new_talk().print(f"Wrote {os.path.join(output, SEEDS)}; each seed's model is in a folder beside it")
    _warn_of_one_label(outcomes, config.learning_rate)
    if as_json:
        print_json([_describe_outcome(seed, outcome) for seed, outcome in outcomes.items()])


def is_stratified(output: str, random_seed: int) -> bool:
    """Whether held-out rows are stratified by label: always, but in a folder of a fine-tuning that began without."""
    begun = _read_begun(output, random_seed)
    return begun is None or begun["held_out"].get("stratified") is True


def settle_optimizer(config: FinetuneConfig, optimizer: FinetuneOptimizer | None, output: str) -> FinetuneConfig:
    """The settings with an optimizer and its schedule.

    Unless an optimizer is given, those of the fine-tuning that a folder holds: google where it names none.
    """
    begun = _read_begun(output, config.random_seed)
    before: dict[str, Any] = {} if begun is None else as_today(begun["config"])
    known: FinetuneOptimizer = before.get("optimizer", FinetuneConfig.optimizer)
    if known not in get_args(FinetuneOptimizer):
        known = FinetuneConfig.optimizer
    is_older = before.get("schedule") == "google" and optimizer in (None, known)
    return replace(config, optimizer=optimizer or known, schedule="google" if is_older else None)


def _read_begun(output: str, random_seed: int) -> dict[str, dict[str, Any]] | None:
    """`held_out` and `config` of the fine-tuning that a folder holds, of several seeds of the first; None without one.

    None also where the file is damaged, as is said when the folder is opened.
    """
    for folder in (output, os.path.join(output, f"seed-{random_seed}")):
        path = os.path.join(folder, FINETUNING)
        if exists(path):
            with suppress(ValueError, TypeError, KeyError):
                finetuning = parse_json(read_bytes(path))
                return {name: dict(finetuning[name]) for name in ("held_out", "config")}
    return None


def show_task(
    start: "TrainedBert", train: LabelledTexts, held_out: LabelledTexts, labels: Sequence[str], max_seq_length: int
) -> None:
    """Says what is learned from what, and warns of what may be wrong with the model for it."""
    console, bert = new_talk(), start.model.config
    console.print(
        f"Fine-tuning {start.path} ({bert.num_hidden_layers} layers of {bert.hidden_size}) on "
        f"{count(len(train), 'row')}, {count(len(held_out), 'row')} held out"
        f"{', stratified by label' if held_out.split and held_out.split.stratified else ''}"
    )
    console.print(f"{count(len(labels), 'label')}: {_describe_labels(train, labels)}")
    held_out_labels = set(held_out.labels)
    if unmeasured := [label for label in labels if label not in held_out_labels]:
        warn(
            f"{count(len(unmeasured), 'label')} without held-out rows, not measured and not in macro_f1: "
            f"{_list_some([clip(label) for label in unmeasured])}"
        )
    first = train.take(range(min(len(train), ROWS_LOOKED_AT)))
    warn_of_unknown(first.encode(start.vocab, start.rules, max_seq_length).unknown_share)


def run_seeds(
    start: "TrainedBert",
    train: LabelledTexts,
    held_out: LabelledTexts,
    output: str,
    config: FinetuneConfig,
    seeds: int,
) -> Iterator[tuple[int, "FinetuneOutcome"]]:
    """Fine-tunes once for each seed -> the seed and its outcome; no more of them once one was stopped."""
    from maskmill.model.tasks.finetuning import finetune

    for seed in range(config.random_seed, config.random_seed + seeds):
        folder = output if seeds == 1 else os.path.join(output, f"seed-{seed}")
        take = partial(finetune, start, train, held_out, config=replace(config, random_seed=seed))
        outcome = run_finetuning(folder, take)
        if not outcome.is_done:
            return
        yield seed, outcome


def _describe_outcome(seed: int, outcome: "FinetuneOutcome") -> dict[str, Any]:
    assert outcome.confusion is not None
    return {
        "random_seed": seed,
        "steps": outcome.step,
        "metrics": outcome.metrics,
        "one_label": outcome.one_label,
        "labels": outcome.labels,
        "confusion": outcome.confusion.tolist(),
    }


def _warn_of_one_label(outcomes: Mapping[int, "FinetuneOutcome"], learning_rate: float) -> None:
    """Says which seeds ended with a classifier that tells nothing apart, and what helps."""
    fallen = {seed: outcome.one_label for seed, outcome in outcomes.items() if outcome.one_label is not None}
    if not fallen:
        return
    labels = ", ".join(repr(clip(label)) for label in sorted(set(fallen.values())))
    if len(outcomes) == 1:
        what = f"The classifier takes (nearly) all held-out rows for {labels}"
    else:
        seeds = ", ".join(map(str, fallen))
        what = f"{len(fallen)} of {len(outcomes)} seeds ({seeds}) take (nearly) all held-out rows for {labels}"
    warn(
        f"{what}, so nothing was learned that tells the labels apart; what helps: a lower --learning-rate than "
        f"{learning_rate:g}, more --num-train-epochs, or another --random-seed"
    )


def warn_of_rejected(rejected: Mapping[str, Sequence[Rejected]]) -> None:
    """Says of each file how many of its rows were rejected, and why."""
    for path, rows in rejected.items():
        if rows:
            warn(f"Rejected of {path}: {list_reasons(count_reasons(rows))}")


def _describe_labels(train: LabelledTexts, labels: Sequence[str]) -> str:
    counts = Counter(train.labels)
    return _list_some([f"{clip(label)} ({counts[label] / len(train):.1%})" for label in labels])


def _list_some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MOST_COLUMNS:,} more" if len(texts) > MOST_COLUMNS else ""
    return ", ".join(texts[:MOST_COLUMNS]) + more


def run_finetuning(output: str, take: "Callable[..., FinetuneOutcome]") -> "FinetuneOutcome":
    """One fine-tuning into a folder by `take(folder, hooks=hooks)`: with a bar, or lines where there is no terminal."""
    from maskmill.model.training.loop import Hooks

    console = new_talk()
    began = time.monotonic()
    with Bar(console, "compiling", is_short=True) as bar:

        def report(now: "TrainProgress") -> None:
            text = (
                f"step {now.step:,} of {now.num_train_steps:,}: loss {now.loss:.3f}, "
                f"accuracy {now.metrics['accuracy']:.3f}, {now.sequences_per_second:,.1f} rows/s"
            )
            bar.draw(text, now.step, now.num_train_steps)
            bar.print_line(text)

        def tell(epoch: int, metrics: Mapping[str, float], is_best: bool) -> None:
            values = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            console.print(f"epoch {epoch}, held-out rows: {values}{' (the best so far)' if is_best else ''}")

        try:
            with mirror(output, trains=True) as folder:
                outcome = take(folder.local, hooks=Hooks(report, tell, folder.send_if_possible))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"Stopped; the same command goes on from the last checkpoint in {output}, if there is one."
            ) from None
    if outcome.is_done:
        console.print(f"Wrote {output}: {outcome.step:,} steps, in {time.monotonic() - began:.0f} s")
    else:
        console.print(
            f"Stopped after step {outcome.step:,} of {outcome.num_train_steps:,}, which is saved in {output}; "
            "the same command goes on"
        )
    return outcome


def show_outcome(console: Console, outcome: "FinetuneOutcome") -> None:
    """Prints metrics and confusion matrix of the best epoch."""
    table = new_table("held-out rows, best epoch", "", numbers_from=1)
    for name, value in outcome.metrics.items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    assert outcome.confusion is not None
    if len(outcome.labels) <= MOST_COLUMNS:
        console.print(confusion_table(outcome.confusion, outcome.labels))
    else:
        console.print(f"The confusion matrix of {len(outcome.labels)} labels is in confusion.png")


def confusion_table(confusion: "Confusion", labels: Sequence[str]) -> Any:
    """A row for each label, a column for what it is taken for, and the F1 of the label."""
    from maskmill.model.tasks.metrics import f1_by_label

    table = new_table("label \\ taken for", *labels, "F1", numbers_from=1)
    for label, row, f1 in zip(labels, confusion.tolist(), f1_by_label(confusion)):
        table.add_row(label, *(f"{number:,}" for number in row), f"{f1:.4f}")
    return table


def _write_seeds(output: str, outcomes: Mapping[int, "FinetuneOutcome"], shows: bool) -> None:
    """Writes mean, spread and single values of several seeds to `seeds.json`, and `shows` them as a table."""
    names = list(next(iter(outcomes.values())).metrics)
    table = new_table(f"{len(outcomes)} seeds", "mean", "standard deviation", "lowest", "highest", numbers_from=1)
    summary = {}
    for name in names:
        values = [outcome.metrics[name] for outcome in outcomes.values()]
        summary[name] = {"mean": fmean(values), "standard_deviation": stdev(values), "values": values}
        table.add_row(name, *(f"{value:.4f}" for value in (fmean(values), stdev(values), min(values), max(values))))
    if shows:
        new_console(lasting=True).print(table)
    one_label = [outcome.one_label for outcome in outcomes.values()]
    found = {"seeds": list(outcomes), "metrics": summary, "one_label": one_label}
    write_text(os.path.join(output, SEEDS), json.dumps(found, indent=1) + "\n")
