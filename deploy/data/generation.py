"""A call of `generate`: what is read, what is made of it, and how."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any

from rich.console import Console

from maskmill.deploy.data.generate import GenerateRequest, RunOptions
from maskmill.deploy.terminal.progress import Work
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.jobs.estimate import Estimate, PackedSample, estimate_copy, tokenize_sample
from maskmill.pipeline.jobs.token_input import TokenInput
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.sampling import Sample, read_sample
from maskmill.tokenizer.vocab import Vocab

# Processor time to hand tokenised documents on to their pools, which a sample does not show.
SHUFFLE_SECONDS_PER_MB = 0.02
READINGS_ELSEWHERE = 2  # of the input by a job of an engine: to measure it, and to build


@dataclass(frozen=True)
class Generation:
    """What is read, what is made of it, and how."""

    console: Console
    inputs: Sequence[str]
    files: Sequence[str]  # that the inputs name
    vocab: Vocab
    targets: Sequence[Target]  # which differ in the lengths of instances alone
    reading: ReadOptions
    options: RunOptions
    tokens: TokenInput | None = None  # the inputs, where they are datasets of tokens
    clock: float = field(default_factory=time.monotonic)  # when it was called

    @property
    def config(self) -> InstanceConfig:
        """What the targets have in common."""
        return self.targets[0].config

    @property
    def folder(self) -> str:
        """The folder of the first dataset. What concerns all of them is shown there."""
        return self.targets[0].output

    def seconds_since_start(self) -> dict[str, float]:
        """For run.json, where `started` stands, too."""
        return {"seconds": round(time.monotonic() - self.clock, 1)}

    @cached_property
    def sample(self) -> Sample:
        """What is known of the documents before they are read."""
        return self.tokens.sample if self.tokens else read_sample(self.files, self.reading)

    @property
    def estimated_pools(self) -> Pools:
        """The pools of the dataset, as far as the sample tells."""
        return Pools.plan(self.config, self.sample.all_documents, int(self.sample.all_content_bytes))

    @cached_property
    def packed_sample(self) -> PackedSample:
        """Some of the documents, tokenised."""
        if self.tokens:
            return self.tokens.packed_sample
        return tokenize_sample(self.sample, self.reading, self.vocab, self.config.cased)

    @cached_property
    def costs(self) -> list[Estimate]:
        """What one copy of the sample comes to, for each target."""
        return [self.estimate(target.config) for target in self.targets]

    def estimate(self, config: InstanceConfig) -> Estimate:
        """What one copy of the sample comes to."""
        return estimate_copy(self.packed_sample, self.vocab, config)

    def packed_bytes(self, content_bytes: float) -> int:
        """The bytes of tokenised documents that have so many bytes of content."""
        return int(self.costs[0].packed_bytes * content_bytes / max(1, self.costs[0].content_bytes))

    def shard_bytes(self, content_bytes: float) -> float:
        """The bytes of all shards of all targets."""
        scale = content_bytes / max(1, self.costs[0].content_bytes)
        return sum(cost.shard_bytes * scale * one.config.copies for cost, one in zip(self.costs, self.targets))

    def weigh(self, documents: int, content_bytes: float, pools: Pools, shards_before: int = 0) -> Work:
        """The work of a corpus of so many documents and bytes of content, from one copy of a sample for each target."""
        scale = content_bytes / max(1, self.costs[0].content_bytes)
        configs = [target.config for target in self.targets]
        return Work(
            documents=documents,
            pools=len(pools),
            megabytes=content_bytes / 1e6,
            shards=sum(pools.train * config.train_copies + pools.eval for config in configs),
            shards_before=shards_before,
            instances=sum(cost.instances * scale * config.copies for cost, config in zip(self.costs, configs)),
            read_seconds=self.sample.all_read_seconds,
            tokenize_seconds=self.costs[0].tokenize_seconds * scale
            + SHUFFLE_SECONDS_PER_MB * self.packed_bytes(content_bytes) / 1e6,
            build_seconds=sum(cost.build_seconds * scale * config.copies for cost, config in zip(self.costs, configs)),
        )


def identify(config: InstanceConfig, request: GenerateRequest, vocab: Vocab) -> Mapping[str, Any]:
    """What the bytes of a dataset depend on, but for the documents."""
    of_input = {"tokens_sha256": request.tokens.sha256s} if request.tokens else asdict(request.reading)
    return {**config.to_values(), **of_input, "vocab_sha256": vocab.sha256, "maskmill": version("maskmill")}
