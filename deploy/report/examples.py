"""The decoded examples of a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from maskmill.pipeline.analysis.example_selection import choose_examples
from maskmill.pipeline.analysis.opened_datasets import OpenedDataset, OpenedShard
from maskmill.pipeline.analysis.readable_examples import ReadableExample, ReadableToken, make_readable

EXAMPLES = 12


@dataclass(frozen=True)
class ShownExample:
    """An example, and where it stands."""

    shard: str
    record: int  # the first is 1
    example: ReadableExample

    @property
    def runs(self) -> list[tuple[int, list[ReadableToken]]]:
        """Its tokens in runs of one segment: segment_ids and tokens."""
        return [(segment, list(run)) for segment, run in groupby(self.example.tokens, lambda token: token.segment)]


def show_examples(opened: OpenedDataset, shards: Sequence[OpenedShard], most: int = EXAMPLES) -> list[ShownExample]:
    """Examples from the beginnings of evenly chosen shards, as many of each: records are in random order.

    Always the same ones. `shards` are such as hold examples.
    """
    number = min(most, len(shards))
    shown: list[ShownExample] = []
    for place in range(number):
        shard = shards[place * len(shards) // number]
        wanted = (place + 1) * most // number - len(shown)
        chosen = choose_examples(opened, [shard], wanted)
        shown += [ShownExample(shard.name, one.record, make_readable(opened, one.arrays, 0)) for one in chosen]
    return shown


def show_token(token: ReadableToken) -> str:
    """A token as `maskmill inspect` shows it.

    >>> show_token(ReadableToken("[MASK]", 0, "cat", "mask")), show_token(ReadableToken("cat", 0, None, None))
    ('[MASK→cat]', 'cat')
    """
    if token.original is None:
        return token.token
    shown = {"mask": "MASK", "same": "keep"}.get(str(token.kind), token.token)
    return f"[{shown}→{token.original}]"
