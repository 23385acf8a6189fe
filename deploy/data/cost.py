"""What a run on an engine takes and costs, estimated from a sample, and what each figure is based on."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

from maskmill.deploy.data.generation import READINGS_ELSEWHERE, Generation
from maskmill.deploy.terminal.numbers import in_bytes
from maskmill.pipeline.storage.storage import read_json
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import brief

PRICES = Path(__file__).with_name("prices.json")

SHUFFLED = 2  # times that a shuffled byte is billed: written, and read
MAX_PRICE = 10**12
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
        given = read_json(path, "expected numbers as in deploy/data/prices.json")
        kinds = {field.name: (int, float) if field.type is float else str for field in fields(cls)}
        for name, value in given.items():
            is_price = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MAX_PRICE
            if name not in kinds or not (isinstance(value, str) if kinds[name] is str else is_price):
                raise InputError(
                    f"prices {path} has {name[:40]} {brief(value)}",
                    expected=f"numbers for some of {', '.join(kinds)}, each from 0 to {MAX_PRICE:,}",
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
        machine_type: of the workers that Dataflow bills, such as "n2-highmem-4"; None on a cluster of the user's own,
            whose memory and disks are listed only where there are prices for them.
    """
    sample, is_dataflow = generation.sample, machine_type is not None
    content_bytes = sample.all_content_bytes
    pools = generation.estimated_pools
    work = generation.weigh(sample.all_documents, content_bytes, pools)
    hours = (work.seconds + READINGS_ELSEWHERE * work.read_seconds) / 3600
    memory_gb, machine = _memory_of(machine_type)
    shuffle_bytes, output_bytes = generation.packed_bytes(content_bytes), generation.shard_bytes(content_bytes)

    def price(name: str, amount: float) -> float | None:
        return amount * float(getattr(prices, name)) if prices else None

    measured = f"measured here on {len(sample.documents):,} documents"
    started = "; without the start of the workers, 2 to 5 minutes each" if is_dataflow else ""
    figures = [
        Figure(
            "processor hours",
            _round(hours),
            f"{measured}, for workers whose processors are as fast as this machine's{started}",
            price("processor_hour", hours),
        )
    ]
    if is_dataflow or prices:
        figures += [
            Figure(
                "memory",
                f"{_round(hours * memory_gb)} GB hours",
                f"{memory_gb:g} GB for each processor{machine}",
                price("memory_gb_hour", hours * memory_gb),
            ),
            Figure(
                "disk",
                f"{_round(hours * DISK_GB)} GB hours",
                f"{DISK_GB} GB for each processor",
                price("disk_gb_hour", hours * DISK_GB),
            ),
        ]
    billed = "; billed when written and when read, before reductions for volume" if is_dataflow else ""
    return [
        *figures,
        Figure(
            "shuffle",
            in_bytes(shuffle_bytes),
            f"every document once, as token ids{billed}",
            price("shuffle_gb", SHUFFLED * shuffle_bytes / 1e9),
        ),
        Figure(
            "output",
            in_bytes(output_bytes),
            f"shards of the sample{'; the cost is that of a month' if prices else ''}",
            price("storage_gb_month", output_bytes / 1e9),
        ),
        Figure("pools", f"{len(pools):,}", "at most this many workers can build shards at a time"),
    ]


def _memory_of(machine_type: str | None) -> tuple[float, str]:
    for kind, memory in MEMORY_GB.items():
        if machine_type and kind in machine_type:
            return memory, f", as {machine_type} has"
    return DEFAULT_MEMORY_GB, f", as {machine_type} has" if machine_type else ""


def _round(number: float) -> str:
    """As many digits as an estimate is worth.

    >>> _round(0.00421234), _round(12345.6)
    ('0.0042', '12,346')
    """
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
