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
        return f"{place}: {self.says}".replace("\n", "\\n")  # as in the name of a file


@dataclass
class Problems:
    """Problems in the order in which they were found; of many of one kind, the first and their number."""

    named: list[Problem] = field(default_factory=list)
    in_files: Counter[tuple[str, str]] = field(default_factory=Counter)  # kind, file -> problems

    @property
    def counts(self) -> Counter[str]:
        """The number of problems of each kind, in all files."""
        counts = Counter[str]()
        for (kind, _), number in self.in_files.items():
            counts[kind] += number
        return counts

    def add(self, problem: Problem) -> None:
        """Counts a problem, and names it if few of its kind came before."""
        if self.counts[problem.kind] < NAMED:
            self.named.append(problem)
        self.in_files[problem.kind, problem.file] += 1

    def add_unnamed(self, kind: str, file: str, number: int) -> None:
        """Counts problems of which enough were named."""
        if number > 0:
            self.in_files[kind, file] += number

    def add_all(self, problems: Iterable[Problem]) -> None:
        """Counts several problems, see `add`."""
        for problem in problems:
            self.add(problem)

    def merge(self, others: "Problems") -> None:
        """Adds those that were found elsewhere."""
        counts = self.counts
        for kind in others.counts:
            named = [problem for problem in others.named if problem.kind == kind]
            self.named += named[: max(0, NAMED - counts[kind])]
        self.in_files.update(others.in_files)

    def files_of(self, kind: str) -> Counter[str]:
        """Problems of a kind by file."""
        return Counter({file: number for (one, file), number in self.in_files.items() if one == kind})

    def __bool__(self) -> bool:
        return bool(self.in_files)
