"""`prune` on the terminal: what the smaller model costs and what it is worth, beside the whole one."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console

from deploy.mirror import mirror
from deploy.models import train_model
from deploy.show import new_console, new_table, new_talk
from deploy.talk import print_json
from deploy.words import in_bytes
from model.config import BERT_CONFIG, PruneConfig, TrainConfig
from pipeline.schema import Split

if TYPE_CHECKING:
    from model.model_dir import WhichCheckpoint

# Rows of the table by the names in `pruning.json`, and how a value is written.
_SIZES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "heads": ("attention heads", "{:,}".format),
    "units": ("feed-forward units", "{:,}".format),
    "num_weights": ("parameters", "{:,}".format),
    "weight_bytes": ("memory of the weights", in_bytes),
    "train_bytes": ("with optimizer and gradients", in_bytes),
    "seconds_per_sequence": ("ms for a sequence", lambda seconds: f"{1000 * seconds:,.3f}"),
}
_METRICS = ("loss", "masked_lm_loss", "masked_lm_accuracy", "next_sentence_loss", "next_sentence_accuracy")


def prune_trained(
    dataset: str,
    model_dir: str,
    output: str,
    config: PruneConfig,
    train_config: TrainConfig,
    checkpoint: "WhichCheckpoint",
    split: Split,
    as_json: bool = False,
) -> None:
    """Prunes a model into a folder, trains that on where steps are given, and prints a table of before and after.

    Or prints that `as_json`.

    A folder that the same request has pruned already is trained on.
    """
    from model.evaluate import measure
    from model.prune_dir import describe_request, prune, read_pruning

    console, talk = new_console(lasting=True), new_talk()
    request = describe_request(dataset, model_dir, config, train_config.num_train_steps, checkpoint, split)
    with mirror(output) as folder:
        pruning = read_pruning(folder.local, request) if train_config.num_train_steps else None
        if pruning is None:
            talk.print(f"Pruning {model_dir}: {config.heads:.0%} of the heads, {config.ffn:.0%} of the units")
            pruning = prune(dataset, model_dir, folder.local, config, train_config, checkpoint, split)
    columns = {"before": pruning["before"], "pruned": pruning["after"]}
    if not as_json:
        show(console, columns, split)
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in pruning["loss_by_importance"].items())
    talk.print(f"Loss of the pruned model by what chose: {losses}")
    for what in ("heads", "units"):
        talk.print(
            f"{_SIZES[what][0]} left in each layer: {', '.join(str(len(kept[what])) for kept in pruning['kept'])}"
        )
    if train_config.num_train_steps:
        train_model(
            [(dataset, train_config.num_train_steps)],
            output,
            os.path.join(output, BERT_CONFIG),
            train_config,
            init_checkpoint=pruning["model_dir"],
        )
        with mirror(output, sends=False) as folder:
            results = measure(dataset, folder.local, split)
        if results["global_step"] < train_config.num_train_steps:
            return  # SIGTERM; what is left to do, was said
        columns[f"after {train_config.num_train_steps:,} steps"] = {**pruning["after"], **results}
        if not as_json:
            show(console, columns, split)
    else:
        talk.print(
            f"Wrote {output}; for further training give --recovery-steps, or train with --init-checkpoint {output}"
        )
    if as_json:
        print_json({"output": output, "split": split, "models": columns, "kept": pruning["kept"]})


def show(console: Console, columns: dict[str, dict[str, float]], split: Split) -> None:
    """Prints sizes, speed and metrics, a column for each model."""
    table = new_table(f"losses of {split}", *columns, numbers_from=1)
    for name, (title, write) in _SIZES.items():
        table.add_row(title, *(write(values[name]) for values in columns.values()))
    for name in _METRICS:
        if all(name in values for values in columns.values()):
            table.add_row(name, *(f"{values[name]:.4f}" for values in columns.values()))
    console.print(table)
