"""`validate`: reads everything in datasets, proves it, and says what is wrong with it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from maskmill.deploy.terminal.messages import print_json
from maskmill.deploy.terminal.numbers import count, in_bytes
from maskmill.deploy.terminal.progress import Bar
from maskmill.deploy.terminal.tables import LABELLED_1, new_console, new_talk
from maskmill.pipeline.dataset.schema import VOCAB, DatasetInfo
from maskmill.pipeline.validation.dataset import Validation, validate_dataset
from maskmill.pipeline.validation.workers import Tell, shard_reader

FILES_SHOWN = 3  # that have more problems of a kind than are named


def validate_datasets(directories: Sequence[str], num_workers: int | None, as_json: bool) -> bool:
    """Validates datasets and prints what was found; returns whether all of them are as they must be.

    Raises InputError when a folder is no dataset.
    """
    console = new_console()
    found = []
    for directory in directories:
        info = DatasetInfo.load(directory)
        started = time.monotonic()
        with _progress(info) as tell, shard_reader(directory, num_workers, tell) as read_shards:
            validation = validate_dataset(directory, read_shards)
        found.append(validation)
        if not as_json:
            _show(console, directory, info, validation, time.monotonic() - started)
    if as_json:
        texts = [_to_json(directory, validation) for directory, validation in zip(directories, found)]
        print_json(texts)
    return not any(validation.problems for validation in found)


@contextmanager
def _progress(info: DatasetInfo) -> Iterator[Tell]:
    """A bar on a terminal, which is told of each shard that is read."""
    all_bytes = sum(shard.bytes for shard in info.shards)
    with Bar(new_talk(), "Reading", all_bytes) as bar:
        shards = examples = size = 0

        def tell(shard_bytes: int, shard_examples: int) -> None:
            nonlocal shards, examples, size
            shards, examples, size = shards + 1, examples + shard_examples, size + shard_bytes
            bar.draw(f"{shards} of {len(info.shards)} shards, {examples:,} examples", size)

        yield tell


def _show(console: Console, directory: str, info: DatasetInfo, validation: Validation, seconds: float) -> None:
    problems = validation.problems
    for kind, times in problems.counts.items():
        named = [problem for problem in problems.named if problem.kind == kind]
        for problem in named:
            console.print(str(problem), style="red")
        if times > len(named):
            files = problems.files_of(kind).most_common()
            where = [f"{number:,} in {file}" for file, number in files[:FILES_SHOWN]]
            if len(files) > FILES_SHOWN:
                where.append(f"the others in {count(len(files) - FILES_SHOWN, 'more file')}")
            console.print(f"... {times:,} of this kind ({kind}): {', '.join(where)}", style="red")
    if not problems:
        console.print(_proof(info, validation))
    for note in validation.notes:
        console.print(f"Note: {note}", style="yellow")
    verdict = count(problems.counts.total(), "problem") if problems else "valid"
    console.print(
        f"{directory}: {verdict}; {count(validation.shards, 'shard')}, {in_bytes(validation.bytes)}, "
        f"{count(validation.examples, 'example')}, {validation.rules} rules, in {seconds:.1f} s",
        style="bold red" if problems else "bold green",
    )


def _proof(info: DatasetInfo, validation: Validation) -> Table:
    """What was checked in a dataset that has no problems."""
    objective = info.objective
    table = Table("checked", "found")
    table.add_row("manifest", "it was not changed, and lists the shards that its config asks for")
    table.add_row("files", f"none is missing, none is extra; all have their size and sha256, {VOCAB} too")
    table.add_row("records", "all lengths and checksums hold")
    table.add_row(
        "examples", f"each keeps the {validation.rules} rules; as many as the manifest counts, of each length"
    )
    for split in ("train", "eval"):
        counts = {
            name.removeprefix(f"{split}/"): number
            for name, number in validation.counts.items()
            if name.startswith(f"{split}/")
        }
        if masked := counts.get("masked_tokens", 0):
            shares = [f"{counts[f'masked_as_{kind}'] / masked:.2%} {kind}" for kind in ("mask", "same", "random")]
            table.add_row(f"{split}, masked", f"{', '.join(shares)}: as expected by chance")
        if instances := counts.get("instances", 0):
            table.add_row(f"{split}, examples", f"{instances:,}")
            if label := LABELLED_1.get(objective):
                table.add_row(f"{split}, {label}", f"{counts['random_next'] / instances:.2%}: as expected by chance")
    if repeats := validation.repeats:
        table.add_row("repeats", "no example is there twice, but for what chance makes")
        if validation.counts["eval/instances"]:
            table.add_row("held out", f"{repeats.held_out:,} examples to evaluate on have the text of one to train on")
    return table


def _to_json(directory: str, validation: Validation) -> dict[str, object]:
    return {
        "dataset": directory,
        "is_valid": not validation.problems,
        "problems": [asdict(problem) for problem in validation.problems.named],
        "problem_counts": {kind: validation.problems.files_of(kind) for kind in validation.problems.counts},
        "notes": validation.notes,
        "shards": validation.shards,
        "bytes": validation.bytes,
        "examples": validation.examples,
        "rules": validation.rules,
        "counts": dict(sorted(validation.counts.items())),
    }
