"""What a run made, as the manifest that makes it a dataset."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from maskmill.pipeline.dataset.dataset import describe_files
from maskmill.pipeline.dataset.schema import MANIFEST, RUN, VOCAB, DatasetInfo
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import RUN_ID, Unfinished
from maskmill.pipeline.instances.plan import plan_shards
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.jobs.corpus import CORPUS
from maskmill.pipeline.jobs.shards import GATHERED
from maskmill.pipeline.reading.rejected import rejected_names
from maskmill.pipeline.storage.storage import exists, read_bytes, write_text
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import SEAL, parse_json, seal
from maskmill.tokenizer.vocab import Vocab


def write_manifest(
    target: Target,
    vocab: Vocab,
    pools: Pools,
    corpus: Mapping[str, int],
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Puts the records of the finished shards together; writes the vocabulary, run.json, and the manifest last.

    Does nothing where an earlier try of an engine has done it, and has forgotten the records since.

    Args:
        target: the dataset, all of whose shards are finished.
        vocab: the vocabulary, a copy of which goes beside the shards.
        pools: the pools of the dataset.
        corpus: what was measured, and the counts of reading the documents, as `section/name`.
        facts: about the run, for run.json, which is written where they are given.

    Raises InputError when a shard is missing or is not the one that was written, a document is in no shard or in two,
    or another run has taken over.
    """
    unfinished = Unfinished(target.output)
    config = replace(target.config, shards_per_copy=pools.train).to_values()
    if unfinished.identity() is None and exists(os.path.join(target.output, MANIFEST)):
        there = DatasetInfo.load(target.output)
        if (there.config, there.vocab_sha256) == (config, vocab.sha256):
            return
    unfinished.require_run(target.run)
    finished = unfinished.finished()
    planned = {shard.path for pool in range(len(pools)) for shard in plan_shards(pools, target.config, pool)}
    if missing := planned - {record.shard.path for record in finished}:
        raise InputError(
            f"{target.output} lacks {len(missing)} shards, such as {min(missing)}", way_out="run the command again"
        )
    counts = Counter({name: count for name, count in corpus.items() if "/" in name})
    if target.config.format == "tokens":  # for runs that have it as input
        counts.update({f"{CORPUS}/{name}": count for name, count in corpus.items() if "/" not in name})
    shards = []
    for record in finished:
        shards.append(record.shard)
        counts.update(record.counts)
    if (gathered := counts.pop(GATHERED)) != corpus["documents"]:
        raise InputError(
            f"{corpus['documents']:,} documents were measured, and {gathered:,} came into the shards of "
            f"{target.output}",
            way_out="INPUT changed meanwhile, so run the command again with --overwrite",
        )
    identity = unfinished.require_run(target.run)
    write_text(os.path.join(target.output, VOCAB), vocab.to_text())
    if facts is not None:
        rejected = describe_files(target.output, rejected_names(target.output))
        before = _read_about(target.output, target.run)
        write_about(target.output, {**before, **facts, "identity": identity, "rejected": rejected})
    unfinished.require_run(target.run)
    DatasetInfo(
        config=config,
        vocab_size=len(vocab),
        vocab_sha256=vocab.sha256,
        counts=_nest(counts),
        shards=tuple(sorted(shards, key=lambda shard: (shard.split != "train", shard.copy, shard.pool))),
        maskmill_version=version("maskmill"),
    ).save(target.output)


def write_about(output: str, about: Mapping[str, Any]) -> None:
    """Writes run.json; its `identity` holds the id of the run."""
    write_text(os.path.join(output, RUN), seal(about))


def add_facts(output: str, run: str, facts: Mapping[str, Any]) -> None:
    """Adds to run.json what was not known when it was written, unless it is about another run by now."""
    if about := _read_about(output, run):
        write_about(output, {**about, **facts})


def _read_about(output: str, run: str | None) -> dict[str, Any]:
    """The content of run.json; nothing where there is none, or it is about another run."""
    path = os.path.join(output, RUN)
    try:
        about = parse_json(read_bytes(path)) if exists(path) else {}
        is_ours = bool(run) and about["identity"][RUN_ID] == run
    except (ValueError, KeyError, TypeError):
        return {}
    about.pop(SEAL, None)
    return about if is_ours else {}


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
