"""How a run on this machine is divided, and the time that it takes."""

from dataclasses import dataclass

from maskmill.deploy.data.generate import RunOptions
from maskmill.deploy.data.generation import Generation
from maskmill.deploy.engines.local import LocalRunner
from maskmill.deploy.engines.memory import buffer_room, machine_memory, require_room, room_of_worker
from maskmill.deploy.terminal.numbers import count, in_bytes
from maskmill.deploy.terminal.progress import Work

SECONDS_TO_START = 2.0  # of this process and of the first worker


def memory_limit(options: RunOptions) -> int:
    """The bytes that all processes together may use: as given, else half of the machine's."""
    return machine_memory() // 2 if options.memory_limit is None else options.memory_limit


@dataclass(frozen=True)
class LocalPlan:
    """How a run on this machine is divided, which the memory limit decides.

    Attributes:
        num_pools: the pools of the dataset.
        packed_bytes: of all tokenised documents, which fall evenly to the pools.
        memory_limit: bytes, of all processes together.
        num_workers: processes side by side.
    """

    num_pools: int
    packed_bytes: int
    memory_limit: int
    num_workers: int

    @classmethod
    def of(cls, generation: Generation, runner: LocalRunner, num_pools: int, content_bytes: float) -> "LocalPlan":
        """The plan for a corpus of so many bytes of content."""
        limit = memory_limit(generation.options)
        return cls(num_pools, generation.packed_bytes(content_bytes), limit, runner.num_workers)

    @property
    def worker_bytes(self) -> int:
        """The memory that each worker may take."""
        return room_of_worker(self.memory_limit, self.num_workers)

    @property
    def buffer_bytes(self) -> int:
        """The memory of a worker for tokenised documents that are not in the spill yet."""
        return buffer_room(self.worker_bytes)

    def require_room(self) -> None:
        """Raises InputError when the workers cannot hold a pool each."""
        require_room(self.memory_limit, self.num_workers, self.packed_bytes / self.num_pools)

    def describe(self) -> str:
        """Workers and memory in words."""
        return f"with {count(self.num_workers, 'worker')} and a memory limit of {in_bytes(self.memory_limit)}"

    def processor_seconds(self, work: Work) -> float:
        """Processor time of all processes together."""
        return SECONDS_TO_START + work.read_seconds + work.seconds_left

    def seconds(self, work: Work) -> float:
        """The time until the end, with a free processor for each worker."""
        return SECONDS_TO_START + (self.processor_seconds(work) - SECONDS_TO_START) / self.num_workers
