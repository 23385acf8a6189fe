"""`generate --dry-run`: what a run would make and take, by a sample of the documents."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

from rich.table import Table

from deploy.engines.cost import Figure, Prices, estimate_costs
from deploy.engines.local import LocalRunner
from deploy.engines.remote import RemoteRunner
from deploy.making.generate_here import SECONDS_TO_START
from deploy.making.generation import Generation
from deploy.show import new_console
from deploy.talk import print_json, warn
from deploy.words import count
from pipeline.corpus import no_documents
from pipeline.estimate import Estimate
from pipeline.pools import Pools
from pipeline.validation.shares import note_random_next

LONG_SEQ_LENGTH = 512  # whose padding a dry run tells, too
ROWS: dict[str, Callable[[Mapping[str, float]], str]] = {
    "instances": lambda one: f"{one['instances']:,}",
    "tokens an instance": lambda one: f"{one['tokens_an_instance']:.1f}",
    "padding": lambda one: f"{one['padding']:.1%}",
    "shards": lambda one: f"{one['shards']:,}",
    "MB": lambda one: f"{one['bytes'] / 1e6:,.0f}",
    "seconds": lambda one: f"{one['seconds']:,.0f}",
}


def show_dry_run(generation: Generation, runner: LocalRunner | RemoteRunner, as_json: bool) -> None:
    """Prints what a run would make and take. Writes nothing."""
    sample = generation.sample
    if not sample.documents:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in sample.set_aside.items())
        raise no_documents(generation.files[0], reasons)
    documents, content_bytes = sample.all_documents, sample.all_content_bytes
    pools = Pools.plan(generation.config, documents, int(content_bytes))
    configs = [target.config for target in generation.targets]
    if all(config.max_seq_length != LONG_SEQ_LENGTH for config in configs):
        configs.append(configs[0].with_length(LONG_SEQ_LENGTH))
    scale = content_bytes / sample.content_bytes
    copies = generation.config.dupe_factor
    estimates = []
    for config in configs:
        cost = generation.estimate(config)
        estimates.append(
            {
                "max_seq_length": config.max_seq_length,
                "instances": round(cost.instances * scale * copies),
                "tokens_an_instance": cost.instance_tokens / max(1, cost.instances),
                "padding": cost.padding,
                "shards": pools.train * copies + pools.eval,
                "bytes": round(cost.shard_bytes * scale * copies),
                "seconds": _seconds(cost, scale, copies, runner.num_workers),
            }
        )
    prices, figures = None, []
    if not isinstance(runner, LocalRunner):
        prices = Prices.load(generation.options.prices) if runner.billing or generation.options.prices else None
        figures = estimate_costs(generation, prices, runner.billing)
    if as_json:
        values = {
            "documents": documents,
            "content_bytes": content_bytes,
            "sample_documents": len(sample.documents),
            "sample_share": sample.share,
            "set_aside": sample.set_aside,
            "copies": copies,
            "runner": "local" if isinstance(runner, LocalRunner) else runner.name,
            "num_workers": runner.num_workers,
            "estimates": estimates,
            "currency": prices.currency if prices else None,
            "costs": [asdict(figure) for figure in figures],
        }
        print_json(values)
        return
    console = new_console()
    table = Table("max_seq_length", *(str(one["max_seq_length"]) for one in estimates))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, show in ROWS.items():
        table.add_row(name, *map(show, estimates))
    console.print(
        f"About {documents:,} documents, {content_bytes / 1e6:,.1f} MB of text without blanks, by a sample of "
        f"{len(sample.documents):,} documents ({sample.share:.1%} of the input)"
    )
    console.print(table)
    for reason, number in sample.set_aside.items():
        warn(f"In the sample {number:,} more documents cannot be used: {reason}")
    labels = Counter(random_next=generation.costs[0].random_next, instances=generation.costs[0].instances)
    if note := note_random_next(labels, "sample's", generation.config.objective):
        warn(note)
    if isinstance(runner, LocalRunner):
        how = count(runner.num_workers, "worker")
    else:
        how = f"one processor of {runner.name}, were it like this one"
        console.print(_cost_table(figures, prices))
    console.print(f"{count(copies, 'copy', 'copies')}, {how}. Nothing was written.")


def _cost_table(figures: Sequence[Figure], prices: Prices | None) -> Table:
    """What a run elsewhere takes, what that costs, and how it is known."""
    table = Table("", "amount", *([f"about {prices.currency}"] if prices else []), "by")
    for figure in figures:
        cost = [f"{figure.cost:,.4f}" if figure.cost is not None else ""] if prices else []
        table.add_row(figure.name, figure.amount, *cost, figure.basis)
    if prices:
        total = sum(figure.cost or 0.0 for figure in figures)
        table.add_row("in all", "", f"{total:,.2f}", f"prices: {prices.source}; give yours with --prices")
    return table


def _seconds(cost: Estimate, scale: float, copies: int, num_workers: int) -> float:
    return SECONDS_TO_START + (cost.tokenize_seconds + cost.build_seconds * copies) * scale / num_workers
