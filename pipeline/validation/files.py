"""The files of a dataset against its manifest, and the manifest against itself."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import describe_files
from maskmill.pipeline.dataset.schema import (  # fmt: skip
    MANIFEST,
    MAX_MANIFEST,
    RUN,
    SHARD_NAME,
    VOCAB,
    DatasetInfo,
    ShardInfo,
)
from maskmill.pipeline.instances.plan import PlannedShard, plan_shards
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.reading.rejected import rejected_names
from maskmill.pipeline.storage.storage import read_at_most, read_bytes
from maskmill.pipeline.validation.problems import Problem
from maskmill.pipeline.validation.shards import ShardResult
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import MAX_BYTES, NOT_SEALED, check_of, is_sealed, parse_json
from maskmill.tokenizer.vocab import Vocab

CHANGED = f"it {NOT_SEALED}"
MOST_MISSING = 100_000  # shards that a manifest may lack, each to be named


def read_config(directory: str, info: DatasetInfo) -> InstanceConfig:
    """The configuration in a manifest. Raises InputError when it is invalid."""
    try:
        return InstanceConfig(**info.config)
    except (InputError, TypeError) as error:
        raise InputError(
            f"{os.path.join(directory, MANIFEST)} has an invalid config ({error})",
            way_out="restore it, or generate the dataset again",
        ) from error


def check_manifest(directory: str, info: DatasetInfo, config: InstanceConfig) -> Iterator[Problem]:
    """What is wrong with the manifest itself."""
    if not is_sealed(read_at_most(os.path.join(directory, MANIFEST), MAX_MANIFEST)):
        yield Problem("manifest", MANIFEST, CHANGED)
    pools = Pools.plan(config, 0, 0)  # whose number its config holds
    asked = pools.train * config.train_copies + pools.eval
    if asked > MOST_MISSING + len(info.shards):  # a config that was changed may ask for billions
        yield Problem("manifest", MANIFEST, f"it lists {len(info.shards):,} shards, but its config asks for {asked:,}")
        return
    planned = {shard for pool in range(len(pools)) for shard in plan_shards(pools, config, pool)}
    listed = [PlannedShard(shard.path, shard.split, shard.copy, shard.pool) for shard in info.shards]
    for shard, times in Counter(listed).items():
        if shard not in planned:
            yield Problem("manifest", MANIFEST, f"it lists {_name(shard)}, which its config does not ask for")
        elif times > 1:
            yield Problem("manifest", MANIFEST, f"it lists {_name(shard)} {times} times")
    for shard in sorted(planned - set(listed), key=lambda shard: shard.path):
        yield Problem("manifest", MANIFEST, f"it lacks {_name(shard)}, which its config asks for")


def _name(shard: PlannedShard) -> str:
    return f"{shard.path} (split {shard.split}, copy {shard.copy}, pool {shard.pool})"


def check_names(directory: str, info: DatasetInfo, names: Sequence[str]) -> Iterator[Problem]:
    """The files that are missing, or of which the manifest knows nothing, hidden ones aside."""
    expected = [VOCAB, *(shard.path for shard in info.shards)]
    for name in expected:
        if name not in names:
            yield Problem("missing", name, f"it is missing, but {MANIFEST} lists it")
    known = {MANIFEST, RUN, *expected, *rejected_names(directory)}
    for name in names:
        if name not in known and not name.startswith("."):
            reader = ", but a program that reads all shards would read it" if SHARD_NAME.fullmatch(name) else ""
            yield Problem("extra", name, f"{MANIFEST} does not list it{reader}")


def check_run(directory: str, names: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with the files about the run, which are no part of the dataset: run.json, what was rejected."""
    if RUN not in names:
        return
    content = read_at_most(os.path.join(directory, RUN), MAX_BYTES)
    try:
        is_whole = is_sealed(content)
    except ValueError:
        is_whole = False
    recorded: Any = parse_json(content).get("rejected", {}) if is_whole else None
    if not check_of(dict[str, str])(recorded):
        yield Problem("run", RUN, CHANGED)
        return
    present = describe_files(directory, [name for name in recorded if name in names])
    for name, sha256 in recorded.items():
        if name not in present:
            yield Problem("missing", name, f"it is missing, but {RUN} lists it")
        elif present[name] != sha256:
            yield Problem("sha256", name, f"it has sha256 {present[name][:12]}..., {RUN} says {sha256[:12]}...")


def check_vocab(directory: str, info: DatasetInfo) -> tuple[Vocab | None, list[Problem]]:
    """The vocabulary, if it is the one that the manifest names, and what is wrong with it."""
    content = read_bytes(os.path.join(directory, VOCAB))
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != info.vocab_sha256:
        says = f"it has sha256 {sha256[:12]}..., {MANIFEST} says {info.vocab_sha256[:12]}...: another vocabulary"
        return None, [Problem("sha256", VOCAB, says)]
    try:
        vocab = Vocab.parse(content, VOCAB)
    except InputError as error:
        return None, [Problem("vocabulary", VOCAB, str(error))]
    if len(vocab) != info.vocab_size:
        says = f"it has {len(vocab):,} tokens, {MANIFEST} says {info.vocab_size:,}"
        return None, [Problem("vocabulary", VOCAB, says)]
    return vocab, []


def check_bytes(shard: ShardInfo, result: ShardResult, shards: Sequence[ShardInfo]) -> Iterator[Problem]:
    """Compares the bytes of a shard with the manifest."""
    if result.bytes != shard.bytes:
        yield Problem("size", shard.path, f"it has {result.bytes:,} bytes, {MANIFEST} says {shard.bytes:,}")
    if result.sha256 == shard.sha256:
        return
    others = [other.path for other in shards if other.sha256 == result.sha256]
    whose = f", which it says of {others[0]}: swapped or copied" if others else ""
    says = f"it has sha256 {result.sha256[:12]}...{whose}, {MANIFEST} says {shard.sha256[:12]}..."
    yield Problem("sha256", shard.path, says)
