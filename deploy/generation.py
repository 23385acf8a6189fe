"""`generate`: check first, say what will be made, run the DAG over the documents, say what was made."""

import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.inputs import check_apart, check_documents, count_set_aside, describe
from deploy.jobs import Job, Runner, run_for_results, share_out
from deploy.local import LocalRunner, WorkerLostError
from deploy.memory import machine_memory, plan_passes
from deploy.outputs import check_output, keep_rejected, prepare_output, remove_temporaries
from deploy.progress import Work, show_progress
from deploy.show import new_console, show_summary
from pipeline.config import Objective
from pipeline.documents import MAX_REJECTED, ReadOptions
from pipeline.duplicates import find_duplicates
from pipeline.estimate import Estimate, estimate_copy, read_sample
from pipeline.files import list_files
from pipeline.manifest import write_manifest
from pipeline.plan import Target, plan_shards
from pipeline.pools import Pools
from pipeline.rejected import REJECTED
from pipeline.schema import DatasetInfo, write_text_atomically
from pipeline.unfinished import Unfinished
from tokenizer.errors import InputError
from tokenizer.vocab import Vocab

MAX_RETRIES = 3  # of a pass in which a worker process was killed
LONG_SEQ_LENGTH = 512  # whose padding a dry run tells, too
SECONDS_TO_START = 3.0


@dataclass(frozen=True)
class RunOptions:
    """How `generate` runs. Nothing of it changes a byte of what is made."""

    num_workers: int | None = None  # None: by the size of the input
    runner: Runner | None = None  # None: on this machine
    memory_limit: int | None = None  # bytes, of all processes together; None: half of the machine's
    overwrite: bool = False
    dry_run: bool = False
    max_rejected: float = MAX_REJECTED  # share of the documents that may be set aside


def generate_datasets(
    inputs: Sequence[str], vocab_file: Path, targets: Sequence[Target], reading: ReadOptions, options: RunOptions
) -> None:
    """Inputs and a vocabulary -> datasets, one for each target; targets differ in the lengths of instances alone.

    Raises InputError before any work where it can be seen to fail.
    """
    console = new_console()
    vocab = Vocab.load(vocab_file)
    files = list_files(inputs)
    runner = options.runner or LocalRunner.prepare(files, options.num_workers)
    for path in (vocab_file, *(target.output for target in targets)):
        check_apart(inputs, files, path)
    identities = [_identify(target, vocab, reading) for target in targets]
    for target, identity in zip(targets, identities):
        check_output(target.output, identity, options.overwrite or options.dry_run)
    if vocab.has_upper_case and not targets[0].config.cased:
        console.print(
            f"{vocab_file} has tokens in upper case; if it was trained with --cased, say so here.", style="yellow"
        )
    console.print(f"Reading {describe(files)}")
    if options.dry_run:
        _show_dry_run(console, files, vocab, targets, reading, runner.num_workers)
        return

    started, clock = datetime.now(UTC), time.monotonic()
    sample = read_sample(files, reading)
    costs = [estimate_copy(sample, reading, vocab, target.config) for target in targets]
    folder = targets[0].output if len(targets) == 1 else targets[0].output.parent
    with runner.scratch() as rejected:
        corpus, duplicates = _measure(console, inputs, reading, runner, rejected)
        for target, identity in zip(targets, identities):
            identity["documents"] = corpus["fingerprint"]
            check_output(target.output, identity, options.overwrite)
        keep_rejected(rejected, folder)
    if count_set_aside(corpus):
        console.print(f"What was set aside is listed in {folder / REJECTED}", style="yellow")
    _check_corpus(console, inputs, corpus, targets[0].config.objective, options.max_rejected)
    pools = Pools.plan(targets[0].config, corpus["documents"], corpus["bytes"])
    work = _weigh(targets, pools, costs, corpus)
    memory_limit = options.memory_limit or machine_memory() // 2
    packed_bytes = int(costs[0].packed_bytes * corpus["bytes"] / max(1, costs[0].content_bytes))

    def plan(wanted: Sequence[int]) -> list[list[int]]:
        if not runner.holds_pools:
            return [list(wanted)]
        return plan_passes(wanted, len(pools), packed_bytes, memory_limit, runner.num_workers)

    plan(range(len(pools)))  # which may fail, before anything is removed
    finished = [
        prepare_output(target.output, identity, options.overwrite) for target, identity in zip(targets, identities)
    ]
    if any(finished):
        done = sum(map(len, finished))
        console.print(f"Going on with an interrupted run: {done} of {work.shards} shards are finished")
    passes = -(-len(plan(_pools_to_build(targets, pools))) // runner.num_workers)
    console.print(
        f"Building {work.shards} shards, about {work.shard_bytes / 1e6:,.0f} MB, from {corpus['documents']:,} "
        f"documents in {_count(passes, 'pass', 'passes')}"
        + (
            f" with {_count(runner.num_workers, 'worker', 'workers')}: about "
            f"{work.seconds / runner.num_workers + SECONDS_TO_START:,.0f} s, in {memory_limit / 1e6:,.0f} MB of memory"
            if runner.holds_pools
            else f": about {work.seconds:,.0f} s of one processor"
        )
    )
    arguments = {
        "inputs": inputs,
        "options": reading,
        "vocab": vocab,
        "targets": targets,
        "pools": pools,
        "duplicates": duplicates,
    }
    with show_progress(console, [Unfinished(target.output) for target in targets], work):
        _build_shards(console, runner, Job("generate_shards", arguments), targets, pools, plan)

    reading_counts = {name: count for name, count in corpus.items() if "/" in name}
    run = {
        "inputs": list(inputs),
        "files": len(files),
        "reading": asdict(reading),
        "vocab_file": str(vocab_file),
        "num_workers": runner.num_workers,
        "memory_limit": memory_limit,
        "passes": passes,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - clock, 1),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in ("maskmill", "apache-beam", "numpy", "sentencex")},
    }
    for target in targets:
        write_manifest(target, vocab, pools, reading_counts)
        write_text_atomically(target.output / "run.json", json.dumps(run, indent=1) + "\n")
        show_summary(console, target.output, DatasetInfo.load(target.output), time.monotonic() - clock)
    for target in targets:
        Unfinished(target.output).remove()  # not before all are whole: else a kill in between could not be gone on from
    console.print(f"Look at it with: maskmill inspect {targets[0].output}")


def _identify(target: Target, vocab: Vocab, reading: ReadOptions) -> dict[str, Any]:
    """What the bytes of a dataset depend on, but for the documents."""
    return {
        **asdict(target.config),
        **asdict(reading),
        "vocab_sha256": vocab.sha256,
        "maskmill": version("maskmill"),
    }


def _measure(
    console: Console, inputs: Sequence[str], reading: ReadOptions, runner: Runner, rejected: Path
) -> tuple[Counter[str], Container[bytes]]:
    """Reads the corpus once, cheaply; returns its measures, and the keys of the documents to leave out.

    What is set aside is listed in the folder `rejected`.
    """

    def measure(duplicates: Container[bytes]) -> tuple[bytes, Counter[str]]:
        arguments = {"inputs": inputs, "options": reading, "duplicates": duplicates, "rejected": rejected}
        keys, counts = zip(*run_for_results(runner, share_out(runner, Job("measure_corpus", arguments))))
        return b"".join(keys), sum(map(Counter, counts), Counter())

    with console.status("Measuring the corpus"):
        keys, corpus = measure(())
        if duplicates := find_duplicates(keys):
            _, corpus = measure(duplicates)
    return corpus, duplicates


def _check_corpus(
    console: Console, inputs: Sequence[str], corpus: Counter[str], objective: Objective, max_rejected: float
) -> None:
    """Says what was read. Raises InputError where it is too little, or too dirty."""
    check_documents(console, inputs, corpus, max_rejected)
    if corpus["documents"] == 1 and objective == "nsp":
        raise InputError(
            f"INPUT {' '.join(inputs)} is one document; expected two or more, with a blank line between them: "
            "a random next sentence comes from another document (--objective sop and mlm need none)"
        )
    console.print(f"{corpus['documents']:,} documents, {corpus['bytes'] / 1e6:,.1f} MB of text without blanks")


def _pools_to_build(targets: Sequence[Target], pools: Pools) -> list[int]:
    """The pools that have a shard which is not finished."""
    finished = [Unfinished(target.output).names() for target in targets]
    return [
        pool
        for pool in range(len(pools))
        if any(
            shard.path not in names
            for target, names in zip(targets, finished)
            for shard in plan_shards(pools, target.config, pool)
        )
    ]


def _weigh(targets: Sequence[Target], pools: Pools, costs: Sequence[Estimate], corpus: Mapping[str, int]) -> Work:
    """The work of a run, from one copy of a sample for each target."""
    scale = corpus["bytes"] / max(1, costs[0].content_bytes)
    copies = [t.config.dupe_factor * (1 - t.config.eval_fraction) + t.config.eval_fraction for t in targets]
    return Work(
        documents=corpus["documents"],
        megabytes=corpus["bytes"] / 1e6,
        shards=sum(pools.train * target.config.dupe_factor + pools.eval for target in targets),
        instances_per_shard=[cost.instances * scale / max(1, pools.train) for cost in costs],
        shard_bytes=sum(cost.shard_bytes * scale * n for cost, n in zip(costs, copies)),
        tokenize_seconds=costs[0].tokenize_seconds * scale,
        build_seconds=sum(cost.build_seconds * scale * n for cost, n in zip(costs, copies)),
    )


def _build_shards(
    console: Console,
    runner: Runner,
    job: Job,
    targets: Sequence[Target],
    pools: Pools,
    plan: Callable[[Sequence[int]], list[list[int]]],
) -> None:
    """Builds the shards that are not finished; once more those that are missing when a worker process was killed."""
    try:
        for retries_left in reversed(range(MAX_RETRIES + 1)):
            finished = [Unfinished(target.output).names() for target in targets]
            passes = plan(_pools_to_build(targets, pools))
            try:
                runner.run([job.with_arguments(wanted=wanted, finished=finished) for wanted in passes])
                return
            except WorkerLostError:
                if not retries_left:
                    raise
                console.print("A worker process was killed; going on with what is finished", style="yellow")
    finally:
        for target in targets:
            remove_temporaries(target.output)


def _show_dry_run(
    console: Console,
    files: Sequence[str],
    vocab: Vocab,
    targets: Sequence[Target],
    reading: ReadOptions,
    num_workers: int,
) -> None:
    """Prints what a run would make and take, by a sample of the documents. Writes nothing."""
    sample = read_sample(files, reading)
    if not sample.documents:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in sample.set_aside.items())
        found = f"none that can be read ({reasons})" if reasons else "none"
        raise InputError(f"INPUT {files[0]} holds no documents: {found}; expected text, or a table with --text-field")
    documents, content_bytes = len(sample.documents) / sample.share, sample.content_bytes / sample.share
    pools = Pools.plan(targets[0].config, int(documents), int(content_bytes))
    configs = [target.config for target in targets]
    if all(config.max_seq_length != LONG_SEQ_LENGTH for config in configs):
        configs.append(configs[0].with_length(LONG_SEQ_LENGTH))
    table = Table("max_seq_length", *(str(config.max_seq_length) for config in configs))
    for column in table.columns[1:]:
        column.justify = "right"
    scale = content_bytes / sample.content_bytes
    costs = [estimate_copy(sample, reading, vocab, config) for config in configs]
    copies = configs[0].dupe_factor
    rows: dict[str, Callable[[Estimate], str]] = {
        "instances": lambda cost: f"{cost.instances * scale * copies:,.0f}",
        "tokens an instance": lambda cost: f"{cost.instance_tokens / max(1, cost.instances):.1f}",
        "padding": lambda cost: f"{cost.padding:.1%}",
        "shards": lambda cost: f"{pools.train * copies + pools.eval:,}",
        "MB": lambda cost: f"{cost.shard_bytes * scale * copies / 1e6:,.0f}",
        "seconds": lambda cost: f"{_seconds(cost, scale, copies, num_workers):,.0f}",
    }
    for name, describe_cost in rows.items():
        table.add_row(name, *map(describe_cost, costs))
    console.print(
        f"About {documents:,.0f} documents, {content_bytes / 1e6:,.1f} MB of text without blanks, by a sample of "
        f"{len(sample.documents):,} documents ({sample.share:.1%} of the input)"
    )
    console.print(table)
    for reason, count in sample.set_aside.items():
        console.print(f"In the sample {count:,} more documents cannot be used: {reason}", style="yellow")
    console.print(
        f"{_count(copies, 'copy', 'copies')}, {_count(num_workers, 'worker', 'workers')}. Nothing was written."
    )


def _seconds(cost: Estimate, scale: float, copies: int, num_workers: int) -> float:
    return SECONDS_TO_START + (cost.tokenize_seconds + cost.build_seconds * copies) * scale / num_workers


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
