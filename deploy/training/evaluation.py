"""`evaluate` on the terminal: the metrics of a model beside what guessing would reach, and warnings."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table

from maskmill.deploy.terminal.messages import print_json
from maskmill.deploy.terminal.tables import new_console, new_talk
from maskmill.deploy.training.evaluate import EvaluateRequest
from maskmill.model.pretraining.config import PhaseRequest
from maskmill.pipeline.storage.mirror import mirror

if TYPE_CHECKING:
    from maskmill.model.pretraining.evaluate import Evaluation
    from maskmill.model.pretraining.token_counts import Band

MASKED_LM, NEXT_SENTENCE = "masked_lm_accuracy", "next_sentence_accuracy"
HOW = {MASKED_LM: "always the most frequent token", NEXT_SENTENCE: "always the more frequent label"}
NOT_LEARNED = {
    "mlm": "has learned little more than how frequent tokens are",
    "nsp": "cannot tell an actual next sentence from a random one yet",
    "sop": "cannot tell two segments in order from two that are swapped yet",
}


@dataclass(frozen=True)
class LearningWarning:
    """An accuracy that is not clearly above that of guessing, and what helps."""

    metric: str
    found: str
    remedy: str


def evaluate_model(request: EvaluateRequest, as_json: bool = False) -> None:
    """Prints the metrics of the model on a split, with guesses and warnings, and writes `eval_results.txt`."""
    from maskmill.model.formats.model_dir import read_training
    from maskmill.model.pretraining.evaluate import EVAL_RESULTS, measure, write_results

    dataset, model_dir, split = request.dataset, request.model_dir, request.split
    opened = PhaseRequest(dataset, changes=request.changes).open()
    info = opened.info
    with mirror(model_dir) as folder:
        with opened.unchanged():
            found = measure(opened, folder.local, split, request.eval_batch_size, request.checkpoint)
        guesses = guesses_of(found)
        warnings = list(find_warnings(found, guesses, found.examples, info.objective, read_training(folder.local)))
        if as_json:  # printed before it is written, for the folder may be read-only
            values = {
                "dataset": dataset,
                "model_dir": model_dir,
                "split": split,
                "examples": found.examples,
                "metrics": found.metrics,
                "guesses": guesses,
                "frequency_bands": [asdict(band) for band in found.bands],
                "warnings": [asdict(warning) for warning in warnings],
            }
            print_json(values)
        else:
            console = new_console(lasting=True)
            console.print(metrics_table(f"{split}, {found.examples:,} examples", found.metrics, guesses))
            console.print(bands_table(found.bands))
            for warning in warnings:
                console.print(f"{warning.found}. {warning.remedy}.", style="yellow")
        write_results(folder.local, found.results)
    new_talk().print(f"Wrote {os.path.join(model_dir, EVAL_RESULTS)}")


def guesses_of(found: "Evaluation") -> dict[str, float]:
    """The accuracies that guessing would reach, by name."""
    guesses = {MASKED_LM: found.guess, NEXT_SENTENCE: max(found.random_next, 1 - found.random_next)}
    return {name: guess for name, guess in guesses.items() if name in found.metrics}


def find_warnings(
    found: "Evaluation", guesses: Mapping[str, float], examples: int, objective: str, training: Mapping[str, Any]
) -> Iterator[LearningWarning]:
    """Of a model trained as `training` says: a warning for each accuracy that is not clearly above its guess."""
    from maskmill.model.pretraining.evaluate import rests_at_guess

    longer = "Train longer (--num-train-steps or --max-time)"
    other_ways = " or at the preset's own learning rate (without --learning-rate)"
    if training["train_config"].get("first_weights") == "bert" and training["init_checkpoint"] is None:
        other_ways = f",{other_ways.removeprefix(' or')}, or with --first-weights neighbours"
    of_metric = {
        MASKED_LM: (found.masked_tokens, NOT_LEARNED["mlm"], longer + other_ways),
        NEXT_SENTENCE: (examples, NOT_LEARNED[objective], f"{longer}: pairs are learned later than tokens"),
    }
    for name, guess in guesses.items():
        predictions, not_learned, remedy = of_metric[name]
        accuracy = found.metrics[name]
        if rests_at_guess(accuracy, guess, predictions):
            values = f"{name} {accuracy:.4f} is not clearly above the {guess:.4f} of guessing"
            yield LearningWarning(name, f"{values}: the model {not_learned}", remedy)


def metrics_table(title: str, metrics: Mapping[str, float], guesses: Mapping[str, float]) -> Table:
    """Each metric beside its guess, where it has one."""
    table = Table(title, "model", "guess", "")
    for name, value in sorted(metrics.items()):
        shown = f"{value:,}" if name == "global_step" else f"{value:.4f}"
        guess = [f"{guesses[name]:.4f}", HOW[name]] if name in guesses else []
        table.add_row(name, shown, *guess)
    return table


def bands_table(bands: list["Band"]) -> Table:
    """The accuracy of rare and of frequent tokens."""
    table = Table(
        "occurrences per million tokens", "masked", "model", "guess",
        title="masked_lm_accuracy by frequency", title_justify="left",
        caption="guess: always the most frequent token of the row", caption_justify="left",
    )  # fmt: skip
    for band in bands:
        low, high = band.per_million_from, band.per_million_below
        name = f"{low:,} or more" if high is None else f"{low:,} to {high:,}" if low else f"below {high:,}"
        table.add_row(name, f"{band.masked_tokens:,}", f"{band.masked_lm_accuracy:.4f}", f"{band.guess:.4f}")
    return table
