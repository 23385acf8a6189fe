"""What a run elsewhere will take and cost, by a sample; and on what each figure rests."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from deploy.making.generation import Generation
from pipeline.estimate import Estimate
from pipeline.pools import Pools
from pipeline.storage import read_json
from tokenizer.errors import InputError
from tokenizer.json_file import brief

PRICES = Path(__file__).with_name("prices.json")

READ_SECONDS_PER_MB = 0.006  # of processor time, see benchmarks/README.md
SHUFFLED = 2  # times that a shuffled byte is billed: written, and read
DISK_GB = 25  # of a machine, Dataflow's default for batch jobs
# Of memory for each processor, by what stands in the name of a machine's type.
MEMORY_GB = {"n1-standard": 3.75, "n1-highmem": 6.5, "n1-highcpu": 0.9, "standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
DEFAULT_MEMORY_GB = 4.0


@dataclass(frozen=True)
class Prices:
    """Of what an engine bills, each for one unit."""

    source: str
    currency: str
    processor_hour: float
    memory_gb_hour: float
    disk_gb_hour: float
    shuffle_gb: float
    storage_gb_month: float

    @classmethod
    def load(cls, path: str | None = None) -> "Prices":
        """Our table, or with what a JSON file says instead. Raises InputError where that is no table of prices."""
        ours = cls(**json.loads(PRICES.read_text(encoding="utf-8")))
        if path is None:
            return ours
        given = read_json(path, "expected numbers as in deploy/engines/prices.json")
        kinds = {field.name: (int, float) if field.type is float else str for field in fields(cls)}
        for name, value in given.items():
            if name not in kinds or not isinstance(value, kinds[name]) or (not isinstance(value, str) and value < 0):
                raise InputError(
                    f"prices {path} has {name[:40]} {brief(value)}; expected numbers for some of {', '.join(kinds)}"
                )
        return replace(ours, **{"source": path, **given})


@dataclass(frozen=True)
class Figure:
    """A figure of an estimate."""

    name: str
    amount: str
    basis: str
    cost: float | None = None


def estimate_costs(generation: Generation, prices: Prices | None, machine_type: str | None) -> list[Figure]:
    """What a run takes, and costs where prices are known.

    Args:
        generation: what is to be made.
        prices: of the engine; None where they are not known.
        machine_type: of the workers, such as "n2-highmem-4".
    """
    sample, costs = generation.sample, generation.costs
    content_bytes = sample.all_content_bytes
    scale = content_bytes / max(1, sample.content_bytes)
    configs = [target.config for target in generation.targets]
    made: Sequence[tuple[Estimate, float]] = [(cost, config.copies * scale) for cost, config in zip(costs, configs)]
    readings = 3 if generation.reading.id_field else 2  # for the ids, to measure, to build
    reading = readings * READ_SECONDS_PER_MB * content_bytes / 1e6
    seconds = reading + costs[0].tokenize_seconds * scale + sum(cost.build_seconds * times for cost, times in made)
    hours = seconds / 3600
    memory_gb, machine = _memory_of(machine_type)
    shuffle_gb = costs[0].packed_bytes * scale / 1e9
    output_gb = sum(cost.shard_bytes * times for cost, times in made) / 1e9
    pools = len(Pools.plan(generation.config, sample.all_documents, int(content_bytes)))

    def price(name: str, amount: float) -> float | None:
        return amount * float(getattr(prices, name)) if prices else None

    return [
        Figure(
            "worker hours",
            _round(hours),
            f"processors; measured here on {len(sample.documents):,} documents, {sample.share:.2%} of the input, and a "
            "worker's taken to be as fast; a worker's start, 2 to 5 minutes, is not in it",
            price("processor_hour", hours),
        ),
        Figure(
            "memory",
            f"{_round(hours * memory_gb)} GB hours",
            f"{memory_gb:g} GB for each processor, as {machine} has",
            price("memory_gb_hour", hours * memory_gb),
        ),
        Figure(
            "disk",
            f"{_round(hours * DISK_GB)} GB hours",
            f"{DISK_GB} GB for each processor",
            price("disk_gb_hour", hours * DISK_GB),
        ),
        Figure(
            "shuffle",
            f"{_round(shuffle_gb)} GB",
            "every document once, as token ids; billed when written and when read, before reductions for volume",
            price("shuffle_gb", SHUFFLED * shuffle_gb),
        ),
        Figure(
            "output",
            f"{_round(output_gb)} GB",
            "shards of the sample; the cost is that of a month",
            price("storage_gb_month", output_gb),
        ),
        Figure("pools", f"{pools:,}", "that so many workers can build at a time, and no more"),
    ]


def _memory_of(machine_type: str | None) -> tuple[float, str]:
    for kind, memory in MEMORY_GB.items():
        if machine_type and kind in machine_type:
            return memory, machine_type
    return DEFAULT_MEMORY_GB, machine_type or "a common machine"


def _round(number: float) -> str:
    """As many digits as an estimate is worth.

    >>> _round(0.00421234), _round(12345.6)
    ('0.0042', '12,346')
    """
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
