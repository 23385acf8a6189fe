"""What a validation finds: problems, of which the first are named and all are counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

NAMED = 20  # problems of each kind that are named, of a shard and of the whole


@dataclass(frozen=True)
class Problem:
    """Something that is not as it must be."""

    kind: str  # the name of the rule that is broken
    file: str  # relative to the dataset
    says: str  # a clause: what was found, and what was expected
    record: int | None = None  # counted from 1

    def __str__(self) -> str:
        place = self.file if self.record is None else f"{self.file}, record {self.record:,}"
        return f"{place}: {self.says}"


@dataclass
class Problems:
    """Problems in the order in which they were found; of many of one kind, the first and their number."""

    named: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)  # kind -> problems

    def add(self, problem: Problem) -> None:
        """Counts a problem, and names it if few of its kind came before."""
        if self.counts[problem.kind] < NAMED:
            self.named.append(problem)
        self.counts[problem.kind] += 1

    def add_unnamed(self, kind: str, number: int) -> None:
        """Counts problems of which enough were named."""
        if number > 0:
            self.counts[kind] += number

    def add_all(self, problems: Iterable[Problem]) -> None:
        """Adds several."""
        for problem in problems:
            self.add(problem)

    def merge(self, others: "Problems") -> None:
        """Adds those that were found elsewhere."""
        for kind, count in others.counts.items():
            named = [problem for problem in others.named if problem.kind == kind]
            self.named += named[: max(0, NAMED - self.counts[kind])]
            self.counts[kind] += count

    def __bool__(self) -> bool:
        return bool(self.counts)
