"""A dataset that a run is to make."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from maskmill.pipeline.dataset.config import InstanceConfig


@dataclass(frozen=True)
class Target:
    """A dataset to make: its configuration, its folder, and what is there of it already."""

    config: InstanceConfig
    output: str
    identity: Mapping[str, Any] = field(default_factory=dict)  # what its bytes depend on, as far as it is known
    run: str | None = None  # id of the run that makes it, which must not have been taken over by another
    finished: Collection[str] = ()  # names of the shards that an interrupted run left whole

    def with_documents(self, fingerprint: int) -> "Target":
        """The same when the documents are known, too, by their fingerprint, see `MeasureText`."""
        return replace(self, identity={**self.identity, "documents": fingerprint})
