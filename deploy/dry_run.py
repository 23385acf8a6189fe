"""`generate --dry-run`: what a run would make and take, by a sample of the documents."""

from collections.abc import Callable

from rich.table import Table

from deploy.cost import Prices, estimate_costs
from deploy.generate_here import SECONDS_TO_START
from deploy.generation import Generation, count
from deploy.local import LocalRunner
from deploy.remote import RemoteRunner
from pipeline.estimate import Estimate
from pipeline.pools import Pools
from tokenizer.errors import InputError

LONG_SEQ_LENGTH = 512  # whose padding a dry run tells, too


def show_dry_run(generation: Generation, runner: LocalRunner | RemoteRunner) -> None:
    """Prints what a run would make and take. Writes nothing."""
    console, sample = generation.console, generation.sample
    if not sample.documents:
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in sample.set_aside.items())
        found = f"none that can be read ({reasons})" if reasons else "none"
        raise InputError(
            f"INPUT {generation.files[0]} holds no documents: {found}; expected text, or a table with --text-field"
        )
    documents, content_bytes = sample.all_documents, sample.all_content_bytes
    pools = Pools.plan(generation.config, documents, int(content_bytes))
    configs = [target.config for target in generation.targets]
    if all(config.max_seq_length != LONG_SEQ_LENGTH for config in configs):
        configs.append(configs[0].with_length(LONG_SEQ_LENGTH))
    table = Table("max_seq_length", *(str(config.max_seq_length) for config in configs))
    for column in table.columns[1:]:
        column.justify = "right"
    scale = content_bytes / sample.content_bytes
    costs = [generation.estimate(config) for config in configs]
    copies = generation.config.dupe_factor
    rows: dict[str, Callable[[Estimate], str]] = {
        "instances": lambda cost: f"{cost.instances * scale * copies:,.0f}",
        "tokens an instance": lambda cost: f"{cost.instance_tokens / max(1, cost.instances):.1f}",
        "padding": lambda cost: f"{cost.padding:.1%}",
        "shards": lambda cost: f"{pools.train * copies + pools.eval:,}",
        "MB": lambda cost: f"{cost.shard_bytes * scale * copies / 1e6:,.0f}",
        "seconds": lambda cost: f"{_seconds(cost, scale, copies, runner.num_workers):,.0f}",
    }
    for name, describe_cost in rows.items():
        table.add_row(name, *map(describe_cost, costs))
    console.print(
        f"About {documents:,} documents, {content_bytes / 1e6:,.1f} MB of text without blanks, by a sample of "
        f"{len(sample.documents):,} documents ({sample.share:.1%} of the input)"
    )
    console.print(table)
    for reason, number in sample.set_aside.items():
        console.print(f"In the sample {number:,} more documents cannot be used: {reason}", style="yellow")
    if isinstance(runner, LocalRunner):
        how = count(runner.num_workers, "worker", "workers")
    else:
        how = f"one processor of {runner.name}, were it like this one"
        _show_costs(generation, runner)
    console.print(f"{count(copies, 'copy', 'copies')}, {how}. Nothing was written.")


def _show_costs(generation: Generation, runner: RemoteRunner) -> None:
    """Prints what a run elsewhere takes, what that costs, and how it is known."""
    prices = Prices.load(generation.options.prices) if runner.billing or generation.options.prices else None
    figures = estimate_costs(generation, prices, runner.billing)
    table = Table("", "amount", *([f"about {prices.currency}"] if prices else []), "by")
    for figure in figures:
        cost = [f"{figure.cost:,.4f}" if figure.cost is not None else ""] if prices else []
        table.add_row(figure.name, figure.amount, *cost, figure.basis)
    if prices:
        total = sum(figure.cost or 0.0 for figure in figures)
        table.add_row("in all", "", f"{total:,.2f}", f"prices: {prices.source}; give yours with --prices")
    generation.console.print(table)


def _seconds(cost: Estimate, scale: float, copies: int, num_workers: int) -> float:
    return SECONDS_TO_START + (cost.tokenize_seconds + cost.build_seconds * copies) * scale / num_workers
