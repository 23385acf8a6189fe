"""What a run made, as the manifest that makes it a dataset."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

from pipeline.config import InstanceConfig
from pipeline.pools import Pools
from pipeline.schema import VOCAB, DatasetInfo, ShardInfo, write_text_atomically
from tokenizer.vocab import Vocab


def write_manifest(
    output: Path,
    vocab: Vocab,
    config: InstanceConfig,
    pools: Pools,
    shards: Iterable[ShardInfo],
    counts: Mapping[str, int],
) -> None:
    """Writes the vocabulary beside the shards, then the manifest. The order of shards and counts does not matter."""
    write_text_atomically(output / VOCAB, vocab.to_text())
    DatasetInfo(
        config=asdict(replace(config, shards_per_copy=pools.train)),
        vocab_size=len(vocab),
        vocab_sha256=vocab.sha256,
        counts=_nest(counts),
        shards=tuple(sorted(shards, key=lambda shard: (shard.split != "train", shard.copy, shard.pool))),
        maskmill_version=version("maskmill"),
    ).save(output)


def _nest(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """`{"train/tokens": 7}` to `{"train": {"tokens": 7}}`, sorted, numbers by their size.

    >>> _nest({"train/tokens": 7, "train_lengths/128": 2, "train_lengths/16": 3})
    {'train': {'tokens': 7}, 'train_lengths': {'16': 3, '128': 2}}
    """
    sections: dict[str, dict[str, int]] = {}
    for name, number in sorted(counts.items(), key=lambda item: (len(item[0]), item[0])):
        section, _, rest = name.partition("/")
        sections.setdefault(section, {})[rest] = number
    return dict(sorted(sections.items()))
