"""A dataset as a report sees it: read once, and everything about it that a chart shows."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from maskmill.deploy.report.examples import ShownExample, show_examples
from maskmill.pipeline.analysis.collecting_stats import DatasetMeasure, ShardSummary, measure_dataset
from maskmill.pipeline.analysis.opened_datasets import OpenedDataset
from maskmill.pipeline.analysis.stats import DatasetStats
from maskmill.pipeline.analysis.unknown import UnknownWords, find_unknown_words
from maskmill.pipeline.dataset.schema import Split
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import UNK


@dataclass(frozen=True)
class ReportedDataset:
    """One dataset of a report. Charts show the examples to train on; where there are none, those to evaluate on."""

    number: int  # in the report, from 1
    name: str  # short, and unlike the other's
    opened: OpenedDataset
    measure: DatasetMeasure
    unknown: UnknownWords
    examples: list[ShownExample]

    @property
    def split(self) -> Split:
        """The split that is shown."""
        train = self.measure.stats.get("train")
        return "train" if train and train.examples else "eval"

    @property
    def stats(self) -> DatasetStats:
        """What the shown split looks like."""
        return self.measure.stats[self.split]

    @cached_property
    def shards(self) -> list[ShardSummary]:
        """The shards of the shown split, in reading order."""
        return [one for one in self.measure.shards if one.shard.split == self.split]

    @property
    def config(self) -> Mapping[str, Any]:
        """What the manifest says that it was made with; of TFRecords without one, what they tell."""
        if self.opened.info:
            return self.opened.info.config
        return {
            "max_seq_length": self.opened.max_seq_length,
            "max_predictions_per_seq": self.opened.max_predictions_per_seq,
        }

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """The counts of the manifest; nothing where there is none."""
        return self.opened.info.counts if self.opened.info else {}

    @property
    def unknown_tokens(self) -> int | None:
        """How many `[UNK]` there are in the shown split, masked ones included; None without a vocabulary."""
        return int(self.stats.token_counts[self.opened.vocab.ids[UNK]]) if self.opened.vocab else None


def load_subject(
    opened: OpenedDataset, number: int, name: str, num_workers: int | None, documents: Sequence[str] = ()
) -> ReportedDataset:
    """Reads a dataset, and a sample of `documents`.

    Raises InputError where it is damaged, holds no example, or changed since it was opened.
    """
    with opened.unchanged():
        return _load(opened, number, name, num_workers, documents)


def _load(
    opened: OpenedDataset, number: int, name: str, num_workers: int | None, documents: Sequence[str]
) -> ReportedDataset:
    measure = measure_dataset(opened, num_workers)
    if not any(stats.examples for stats in measure.stats.values()):
        raise InputError("holds no example", way_out="generate it from more documents", path=opened.directory)
    subject = ReportedDataset(number, name, opened, measure, find_unknown_words(opened, documents), [])
    return replace(subject, examples=show_examples(opened, [one.shard for one in subject.shards if one.examples]))


def name_subjects(directories: Sequence[str]) -> list[str]:
    """Short names for datasets: the last parts of their paths, as many as tell them apart.

    >>> name_subjects(["out/shards"]), name_subjects(["a/shards", "b/shards"])
    (['shards'], ['a/shards', 'b/shards'])
    """
    parts = [os.path.normpath(directory).split(os.sep) for directory in directories]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(directories, 1)]
