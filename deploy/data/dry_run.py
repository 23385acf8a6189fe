"""`generate --dry-run`: what a run would make and take, estimated from a sample of the documents."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from maskmill.deploy.data.cost import Figure, Prices, estimate_costs
from maskmill.deploy.data.generation import READINGS_ELSEWHERE, Generation
from maskmill.deploy.data.local_plan import LocalPlan
from maskmill.deploy.engines.local import LocalRunner
from maskmill.deploy.engines.remote import RemoteRunner
from maskmill.deploy.terminal.messages import print_json, warn
from maskmill.deploy.terminal.numbers import count, duration, in_bytes
from maskmill.deploy.terminal.tables import new_console
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.jobs.corpus import no_documents
from maskmill.pipeline.jobs.estimate import Estimate
from maskmill.pipeline.reading.sampling import Sample
from maskmill.pipeline.validation.shares import note_labels

HELD_OUT = "held-out instances"
ROWS: dict[str, Callable[[Mapping[str, float]], str]] = {
    "instances to train on": lambda one: f"{one['train_instances']:,}",
    HELD_OUT: lambda one: f"{one['eval_instances']:,}",
    "tokens an instance": lambda one: f"{one['tokens_an_instance']:.1f}",
    "padding": lambda one: f"{one['padding']:.1%}",
    "shards": lambda one: f"{one['shards']:,}",
    "size": lambda one: in_bytes(one["bytes"]),
}


def show_dry_run(generation: Generation, runner: LocalRunner | RemoteRunner, as_json: bool) -> None:
    """Prints what a run would make and take. Writes nothing."""
    sample = generation.sample
    if not sample.read_documents:
        reasons = ", ".join(f"{reason} ({number:,})" for reason, number in sample.rejected.items())
        raise no_documents(generation.files[0], reasons)
    pools = generation.estimated_pools
    estimates = [_estimate(target, cost, sample, pools) for target, cost in zip(generation.targets, generation.costs)]
    work = generation.weigh(sample.all_documents, sample.all_content_bytes, pools)
    time: dict[str, Any]
    if isinstance(runner, LocalRunner):
        prices, figures = None, []
        plan = LocalPlan.of(generation, runner, len(pools), sample.all_content_bytes)
        plan.require_room()
        time = {
            "memory_limit": plan.memory_limit,
            "temporary_bytes": plan.packed_bytes,
            "processor_seconds": round(plan.processor_seconds(work), 1),
            "seconds": round(plan.seconds(work), 1),
        }
        how = (
            f"A run {plan.describe()} takes about {duration(time['seconds'])}, "
            f"{duration(time['processor_seconds'])} of processor time, and {in_bytes(plan.packed_bytes)} of disk for "
            "tokenized documents until it ends."
        )
    else:
        prices = Prices.load(generation.options.prices) if runner.billing or generation.options.prices else None
        figures = estimate_costs(generation, prices, runner.billing)
        seconds = work.seconds + READINGS_ELSEWHERE * work.read_seconds
        time = {"processor_seconds": round(seconds, 1)}
        how = (
            f"The job takes about {duration(seconds)} of processor time on processors like this machine's; "
            f"{runner.name} decides how many work on it."
        )
    if as_json:
        values = {
            "documents": sample.all_documents,
            "documents_margin": sample.margin_of("documents"),
            "content_bytes": sample.all_content_bytes,
            "content_bytes_margin": sample.margin_of("content_bytes"),
            "sample_documents": sample.read_documents,
            "sample_share": sample.share,
            "set_aside": sample.rejected,
            "copies": generation.config.dupe_factor,
            "runner": "local" if isinstance(runner, LocalRunner) else runner.name,
            "num_workers": runner.num_workers,
            **time,
            "estimates": estimates,
            "currency": prices.currency if prices else None,
            "costs": [asdict(figure) for figure in figures],
        }
        print_json(values)
        return
    console = new_console()
    console.print(describe_sample(sample))
    table = Table("max_seq_length", *(str(one["max_seq_length"]) for one in estimates))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, show in ROWS.items():
        if name != HELD_OUT or generation.config.eval_fraction:
            table.add_row(name, *map(show, estimates))
    console.print(table)
    for reason, number in sample.rejected.items():
        warn(f"In the sample {number:,} more documents cannot be used: {reason}")
    labels = Counter(random_next=generation.costs[0].random_next, instances=generation.costs[0].instances)
    if note := note_labels(labels, generation.config.objective):
        warn(note)
    if figures:
        console.print(_cost_table(figures, prices))
    copies = count(generation.config.dupe_factor, "copy", "copies")
    held_out = ", held-out ones once" if generation.config.eval_fraction else ""
    drawn = ", drawn while training" if generation.config.format == "tokens" else ""
    console.print(f"{copies} of each document{drawn}{held_out}. {how} Nothing was written.")
    if generation.config.dedup or generation.reading.id_field:
        console.print("Duplicates are not counted out: with them removed, the dataset is smaller.")


def describe_sample(sample: Sample) -> str:
    """What is known of all documents, and how exactly.

    The margin tells how much the windows of the sample differ from each other.
    """
    size = f"{in_bytes(sample.all_content_bytes)} of text without whitespace"
    if sample.share == 1.0:
        return f"{count(sample.all_documents, 'document')}, {size}: all of the input was read."
    margins = [sample.margin_of(what) for what in ("documents", "content_bytes")]
    documents, text = ("" if margin is None else f" (±{margin:.0%})" for margin in margins)
    rest = "; what was not read may differ" if None in margins else ""
    return (
        f"About {count(sample.all_documents, 'document')}{documents}, {size}{text}, estimated from "
        f"{count(sample.read_documents, 'document')}, {sample.share:.2%} of the input{rest}."
    )


def _estimate(target: Target, cost: Estimate, sample: Sample, pools: Pools) -> dict[str, Any]:
    """What a run makes for a target: `dupe_factor` copies of the documents to train on, one of those held out."""
    config = target.config
    scale = sample.all_content_bytes / max(1, cost.content_bytes)
    one_copy = cost.instances * scale
    return {
        "max_seq_length": config.max_seq_length,
        "train_instances": round(one_copy * (1 - config.eval_fraction) * config.dupe_factor),
        "eval_instances": round(one_copy * config.eval_fraction),
        "tokens_an_instance": cost.instance_tokens / max(1, cost.instances),
        "padding": cost.padding,
        "shards": pools.train * config.train_copies + pools.eval,
        "bytes": round(cost.shard_bytes * scale * config.copies),
    }


def _cost_table(figures: Sequence[Figure], prices: Prices | None) -> Table:
    """What a run elsewhere takes and costs, and what each figure is based on."""
    table = Table("", "amount", *([f"about {prices.currency}"] if prices else []), "based on")
    for figure in figures:
        cost = [f"{figure.cost:,.4f}" if figure.cost is not None else ""] if prices else []
        table.add_row(figure.name, figure.amount, *cost, figure.basis)
    if prices:
        total = sum(figure.cost or 0.0 for figure in figures)
        table.add_row("total", "", f"{total:,.2f}", f"prices: {prices.source}; give yours with --prices")
    return table
