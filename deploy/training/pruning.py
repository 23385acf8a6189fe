"""`prune` on the terminal: what the smaller model costs and what it is worth, beside the whole one."""

from collections.abc import Callable
from typing import Any

from rich.console import Console

from maskmill.deploy.terminal.messages import print_json
from maskmill.deploy.terminal.numbers import in_bytes
from maskmill.deploy.terminal.tables import new_console, new_table, new_talk
from maskmill.deploy.training.prune import PruneRequest
from maskmill.deploy.training.pruned_models import PruneJob
from maskmill.pipeline.storage.mirror import mirror

# Rows of the table by the names in `pruning.json`, and how a value is written.
_SIZES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "heads": ("attention heads", "{:,}".format),
    "units": ("feed-forward units", "{:,}".format),
    "num_weights": ("parameters", "{:,}".format),
    "weight_bytes": ("memory of the weights", in_bytes),
    "train_bytes": ("with optimizer and gradients", in_bytes),
    "seconds_per_sequence": ("ms for a sequence", lambda seconds: f"{1000 * seconds:,.3f}"),
}
_METRICS = (
    "loss", "masked_lm_loss", "masked_lm_accuracy", "next_sentence_loss", "next_sentence_accuracy",
    "accuracy", "macro_f1", "matthews_correlation",
)  # fmt: skip


def prune_trained(subject: PruneJob, request: PruneRequest, as_json: bool = False) -> None:
    """Prunes a model into a folder, trains that on where steps are given, and prints a table of before and after.

    Or prints that `as_json`.

    A folder that the same request has pruned already is trained on.
    """
    from maskmill.model.pruning.smaller import read_pruning

    console, talk, steps = new_console(lasting=True), new_talk(), subject.recovery_steps
    output, config = request.output, request.config
    described = subject.describe_request(config)
    with mirror(output, is_new=True) as folder:
        pruning = read_pruning(folder.local, described) if steps else None
        if pruning is None:
            talk.print(f"Pruning {request.model_dir}: {config.heads:.0%} of the heads, {config.ffn:.0%} of the units")
            with talk.status("Measuring what matters"):
                pruning = subject.prune(folder.local, config)
    columns = {"before": pruning["before"], "pruned": pruning["after"]}
    if not as_json:
        show(console, columns, subject.measured_on)
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in pruning["loss_by_importance"].items())
    talk.print(f"Loss of the pruned model by what chose: {losses}")
    for what in ("heads", "units"):
        talk.print(
            f"{_SIZES[what][0]} left in each layer: {', '.join(str(len(kept[what])) for kept in pruning['kept'])}"
        )
    if steps:
        results = subject.recover(output, pruning)
        if results is None:
            return  # SIGTERM; what is left to do, was said
        columns[f"after {steps:,} steps"] = {**pruning["after"], **results}
        if not as_json:
            show(console, columns, subject.measured_on)
    else:
        talk.print(f"Wrote {output}; for further training give --recovery-steps, or {subject.way_on} {output}")
    if as_json:
        print_json({"output": output, "split": subject.split, "models": columns, "kept": pruning["kept"]})


def show(console: Console, columns: dict[str, dict[str, float]], measured_on: str) -> None:
    """Prints sizes, speed and metrics, a column for each model."""
    table = new_table(f"losses of {measured_on}", *columns, numbers_from=1)
    for name, (title, write) in _SIZES.items():
        table.add_row(title, *(write(values[name]) for values in columns.values()))
    for name in _METRICS:
        if all(name in values for values in columns.values()):
            table.add_row(name, *(f"{values[name]:.4f}" for values in columns.values()))
    console.print(table)
