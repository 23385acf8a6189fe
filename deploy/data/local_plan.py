"""How a run on this machine is divided, and the time that it takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from maskmill.deploy.data.generate import RunOptions
from maskmill.deploy.data.generation import Generation
from maskmill.deploy.engines.local import LocalRunner
from maskmill.deploy.engines.memory import machine_memory, plan_passes
from maskmill.deploy.terminal.progress import Work
from maskmill.deploy.terminal.words import count, in_bytes

SECONDS_TO_START = 2.0  # of this process and of the first worker


def memory_limit(options: RunOptions) -> int:
    """The bytes that all processes together may use: as given, else half of the machine's."""
    return machine_memory() // 2 if options.memory_limit is None else options.memory_limit


@dataclass(frozen=True)
class LocalPlan:
    """The passes of a run, which the memory limit decides."""

    num_pools: int
    packed_bytes: int
    memory_limit: int
    num_workers: int

    @classmethod
    def of(cls, generation: Generation, runner: LocalRunner, num_pools: int, content_bytes: float) -> "LocalPlan":
        """The plan for a corpus of so many bytes of content."""
        limit = memory_limit(generation.options)
        return cls(num_pools, generation.packed_bytes(content_bytes), limit, runner.num_workers)

    def passes(self, pools: Sequence[int]) -> list[list[int]]:
        """The pools of each pass. Raises InputError when not even one pool fits into the memory."""
        return plan_passes(pools, self.num_pools, self.packed_bytes, self.memory_limit, self.num_workers)

    def rounds(self, pools: Sequence[int]) -> int:
        """How often each worker reads the input to build these pools."""
        return -(-len(self.passes(pools)) // self.num_workers)

    def describe(self, pools: Sequence[int]) -> str:
        """Passes, workers and memory in words."""
        return (
            f"in {count(self.rounds(pools), 'pass', 'passes')} with {count(self.num_workers, 'worker')} "
            f"and a memory limit of {in_bytes(self.memory_limit)}"
        )

    def processor_seconds(self, work: Work, pools: Sequence[int], is_measured: bool) -> float:
        """Processor time of all processes together; each pass reads all of the input, as measuring it does."""
        readings = len(self.passes(pools)) + (not is_measured)
        return SECONDS_TO_START + readings * work.read_seconds + work.seconds_left

    def seconds(self, work: Work, pools: Sequence[int], is_measured: bool) -> float:
        """The time until the end, with a free processor for each worker."""
        share = self.processor_seconds(work, pools, is_measured) - SECONDS_TO_START
        return SECONDS_TO_START + share / min(self.num_workers, max(1, len(self.passes(pools))))
