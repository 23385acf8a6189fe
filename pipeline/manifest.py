"""What a run made, as the manifest that makes it a dataset."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import version

from pipeline.plan import Target
from pipeline.pools import Pools
from pipeline.schema import VOCAB, DatasetInfo, write_text_atomically
from pipeline.unfinished import Unfinished
from tokenizer.vocab import Vocab


def write_manifest(target: Target, vocab: Vocab, pools: Pools, reading: Mapping[str, int]) -> None:
    """Puts the records of the finished shards together and writes the vocabulary, then the manifest.

    Args:
        target: the dataset, all of whose shards are finished.
        vocab: the vocabulary, a copy of which goes beside the shards.
        pools: the pools of the dataset.
        reading: the counts of reading the documents.
    """
    unfinished = Unfinished(target.output)
    counts = Counter(reading)
    shards = []
    for shard, shard_counts in unfinished.finished():
        shards.append(shard)
        counts.update(shard_counts)
    write_text_atomically(target.output / VOCAB, vocab.to_text())
    DatasetInfo(
        config=asdict(replace(target.config, shards_per_copy=pools.train)),
        vocab_size=len(vocab),
        vocab_sha256=vocab.sha256,
        counts=_nest(counts),
        shards=tuple(sorted(shards, key=lambda shard: (shard.split != "train", shard.copy, shard.pool))),
        maskmill_version=version("maskmill"),
    ).save(target.output)


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
