"""Two datasets: the same in bytes, in content, alike, or different?"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np

from maskmill.pipeline.analysis.collecting_stats import map_shards
from maskmill.pipeline.analysis.compared_stats import ComparedStatistic, Portrait, compare_portraits
from maskmill.pipeline.analysis.opened_datasets import OpenedDataset, OpenedShard
from maskmill.pipeline.analysis.stats import DatasetStats
from maskmill.pipeline.dataset.schema import Split
from maskmill.pipeline.records.decoding import Arrays
from maskmill.pipeline.storage.storage import open_file

DIGEST_BYTES = 16
MOST_STRATA = 8  # of pools; with ten copies 80 parts, each of which holds its counts of all words
MOST_UNITS = 16  # parts of a dataset with one copy

ComparisonOutcome = Literal["same bytes", "same content", "agree", "agree but for repairs", "differ"]


@dataclass(frozen=True)
class Content:
    """A multiset of examples, whatever their order: how many, and the sum of their digests modulo 2**128."""

    examples: int = 0
    digest: int = 0

    def __add__(self, other: "Content") -> "Content":
        return Content(self.examples + other.examples, (self.digest + other.digest) % (1 << 8 * DIGEST_BYTES))


@dataclass(frozen=True)
class Comparison:
    """What was found of two datasets."""

    outcome: ComparisonOutcome
    reasons: tuple[str, ...]  # what differs before anything is counted, such as max_seq_length
    configuration: tuple[tuple[str, Any, Any], ...]  # options of both manifests that differ: name, A's, B's
    content: dict[Split, tuple[Content, Content]]  # by split; empty where it was not read
    rows: tuple[ComparedStatistic, ...]  # of the examples to train on; empty where they are the same
    spread_from: tuple[str, ...] = ()  # of "A" and "B", those whose copies say how far chance reaches

    @property
    def is_alike(self) -> bool:
        """Whether they may be used one for the other."""
        return self.outcome != "differ"


def compare_datasets(a: OpenedDataset, b: OpenedDataset, num_workers: int | None = None) -> Comparison:
    """Reads two datasets and says what they have in common. Memory does not depend on their size.

    Raises InputError naming the shard and the record that is damaged, and when one of them changed meanwhile.
    """
    with a.unchanged(), b.unchanged():
        return _compare(a, b, num_workers)


def _compare(a: OpenedDataset, b: OpenedDataset, num_workers: int | None) -> Comparison:
    configuration = _compare_configurations(a, b)
    if obstacles := _find_obstacles(a, b):
        return Comparison("differ", obstacles, configuration, {}, ())
    if _have_same_bytes(a, b):
        return Comparison("same bytes", (), configuration, {}, ())
    contents, portraits = zip(*(_read(dataset, num_workers) for dataset in (a, b)))
    content: dict[Split, tuple[Content, Content]] = {
        split: (contents[0].get(split, Content()), contents[1].get(split, Content()))
        for split in get_args(Split)
        if split in contents[0] or split in contents[1]
    }
    if all(mine == others for mine, others in content.values()):
        return Comparison("same content", (), configuration, content, ())
    for name, portrait in zip("AB", portraits):
        if not portrait.stats.examples:
            return Comparison("differ", (f"{name} has no examples to train on",), configuration, content, ())
    predictions = a.max_predictions_per_seq, b.max_predictions_per_seq
    reasons = (
        ()
        if predictions[0] == predictions[1]
        else ("max_predictions_per_seq is {} in A and {} in B".format(*predictions),)
    )
    rows = tuple(compare_portraits(portraits[0], portraits[1], a.vocab or b.vocab))
    spread_from = tuple(name for name, portrait in zip("AB", portraits) if portrait.tells_spread)
    verdicts = {row.verdict for row in rows}
    outcome: ComparisonOutcome = (
        "differ" if "differs" in verdicts else "agree but for repairs" if "repair" in verdicts else "agree"
    )
    return Comparison(outcome, reasons, configuration, content, rows, spread_from)


def digest_examples(arrays: Arrays) -> Content:
    """The content of a batch: of every feature of every example, by our names and as int32 or float32."""
    data = np.hstack([np.ascontiguousarray(arrays[name]).view(np.uint8) for name in sorted(arrays)])
    rows: list[bytes] = data.view(f"V{data.shape[1]}")[:, 0].tolist()
    digests = (hashlib.blake2b(row, digest_size=DIGEST_BYTES).digest() for row in rows)
    return Content(len(rows), sum(int.from_bytes(digest, "little") for digest in digests) % (1 << 8 * DIGEST_BYTES))


def _find_obstacles(a: OpenedDataset, b: OpenedDataset) -> tuple[str, ...]:
    """What makes comparing counts meaningless."""
    reasons = [
        f"{name} is {mine} in A and {others} in B"
        for name, mine, others in (
            ("max_seq_length", a.max_seq_length, b.max_seq_length),
            ("the objective", a.objective, b.objective),
        )
        if mine != others
    ]
    if a.vocab and b.vocab and a.vocab.sha256 != b.vocab.sha256:
        reasons.append("their vocabularies differ, so that the same ids are other words")
    elif a.mask_id != b.mask_id:
        reasons.append(f"[MASK] has the id {a.mask_id} in A and {b.mask_id} in B")
    return tuple(reasons)


def _compare_configurations(a: OpenedDataset, b: OpenedDataset) -> tuple[tuple[str, Any, Any], ...]:
    if not a.info or not b.info:
        return ()
    ours, theirs = ({**opened.info.config, "format": opened.info.format} for opened in (a, b) if opened.info)
    pairs = ((name, ours.get(name), theirs.get(name)) for name in {**ours, **theirs})
    return tuple((name, mine, others) for name, mine, others in pairs if mine != others)


def _have_same_bytes(a: OpenedDataset, b: OpenedDataset) -> bool:
    """Whether the shards, in reading order, are byte by byte the same, whatever names they have.

    Of tokens, the same bytes are the same examples only where all else is the same, too.
    """
    if "tokens" in (opened.info.format for opened in (a, b) if opened.info):
        return bool(a.dataset and b.dataset and a.dataset.sha256 == b.dataset.sha256)
    if [(shard.split, shard.bytes) for shard in a.shards] != [(shard.split, shard.bytes) for shard in b.shards]:
        return False
    with ThreadPoolExecutor() as threads:
        return all(
            mine == others
            for mine, others in zip(threads.map(_digest_file, a.shards), threads.map(_digest_file, b.shards))
        )


def _digest_file(shard: OpenedShard) -> bytes:
    with open_file(shard.path) as file:
        return hashlib.file_digest(file, "sha256").digest()  # type: ignore[arg-type]


def _read(opened: OpenedDataset, num_workers: int | None) -> tuple[dict[Split, Content], Portrait]:
    """The content of each split, and the portrait of the examples to train on."""
    content: dict[Split, Content] = {}
    vocab_size = len(opened.vocab) if opened.vocab else 0
    whole = DatasetStats.empty(opened.max_seq_length, opened.max_predictions_per_seq, opened.mask_id, vocab_size)
    strata: dict[int, dict[int, DatasetStats]] = {}
    has_copies = any(shard.copy for shard in opened.shards)
    results = map_shards(partial(_read_shard, opened), opened.shards, num_workers)
    for shard, (of_shard, stats) in zip(opened.shards, results):
        content[shard.split] = content.get(shard.split, Content()) + of_shard
        if shard.split != "train":
            continue
        whole = whole + stats
        if shard.copy is not None and shard.pool is not None:
            stratum, unit = (shard.pool % MOST_STRATA, shard.copy) if has_copies else (0, shard.pool % MOST_UNITS)
            units = strata.setdefault(stratum, {})
            units[unit] = units[unit] + stats if unit in units else stats
    return content, Portrait(whole, [list(units.values()) for units in strata.values()])


def _read_shard(opened: OpenedDataset, shard: OpenedShard) -> tuple[Content, DatasetStats]:
    vocab_size = len(opened.vocab) if opened.vocab else 0
    stats = DatasetStats.empty(opened.max_seq_length, opened.max_predictions_per_seq, opened.mask_id, vocab_size)
    content = Content()
    for arrays in opened.read_batches(shard):
        content += digest_examples(arrays)
        stats.add(arrays)
    return content, stats
