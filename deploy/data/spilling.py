"""The first half of `generate` on this machine: all documents are tokenised, once, and written to a spill."""

import hashlib
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import islice

from maskmill.deploy.data.generation import Generation
from maskmill.deploy.data.local_plan import LocalPlan
from maskmill.deploy.engines.local import LocalRunner
from maskmill.pipeline.jobs.corpus import count_back
from maskmill.pipeline.jobs.jobs import SpillCorpus
from maskmill.pipeline.jobs.results import read_result
from maskmill.pipeline.jobs.token_input import list_pools
from maskmill.pipeline.reading.documents import Rejected
from maskmill.pipeline.reading.files import FilePart, list_parts
from maskmill.pipeline.reading.rejected import add_rejected, rejected_names
from maskmill.pipeline.spill.folder import SpillFolder
from maskmill.pipeline.spill.ids import reject_repeated
from maskmill.pipeline.storage.storage import is_remote, make_folder, read_bytes, write_bytes

SPILL_FOLDER = ".spill"
PART_BYTES = 8_000_000  # of the input: small, so that tasks can be of one size
# Of a task: little is done again after an interruption. And where more than one worker is worth it, few of them wait.
TASK_BYTES = 128_000_000
LISTED_AT_A_TIME = 100_000  # documents of repeated ids in memory
SMALL_INPUT, LARGE_INPUT = 32_000_000, 256_000_000


def choose_spill_folder(generation: Generation) -> str:
    """The folder for the spill of a run: beside the output, or one of its own in the folder that is given."""
    temp_dir, output = generation.options.temp_dir, generation.folder
    if temp_dir is None and not is_remote(output):
        return os.path.join(output, SPILL_FOLDER)
    name = hashlib.sha256(os.fsencode(os.path.abspath(output))).hexdigest()[:16]
    return os.path.join(temp_dir or tempfile.gettempdir(), f"maskmill-{name}")


def count_tasks(input_bytes: int) -> int:
    """The number of tasks for an input of so many bytes: whatever the workers are, so that others can go on.

    >>> count_tasks(20_000_000), count_tasks(175_000_000), count_tasks(1_000_000_000), count_tasks(10_000_000_000)
    (1, 4, 8, 80)
    """
    least = 1 if input_bytes < SMALL_INPUT else 4 if input_bytes < LARGE_INPUT else 8
    return least * -(-input_bytes // (least * TASK_BYTES)) or 1


def divide_parts(parts: Sequence[FilePart]) -> Iterator[Sequence[FilePart]]:
    """The parts of the input, those of each task: about as many bytes each."""
    tasks, total = count_tasks(sum(part.size for part in parts)), sum(part.size for part in parts)
    first, size = 0, 0.0
    for number, part in enumerate(parts):
        size += part.size
        if size >= total / tasks or number == len(parts) - 1:
            yield parts[first : number + 1]
            first, size = number + 1, size - total / tasks


@dataclass(frozen=True)
class Spilling:
    """The tasks that tokenise the documents. Those that an interrupted run has finished are not done again.

    Attributes:
        generation: what is read, and how.
        plan: how it is divided.
        document_room: bytes of the longest document that there is memory for.
    """

    generation: Generation
    plan: LocalPlan
    document_room: int

    @cached_property
    def folder(self) -> SpillFolder:
        """Where the spill is."""
        return SpillFolder(choose_spill_folder(self.generation))

    @cached_property
    def jobs(self) -> list[SpillCorpus]:
        """All tasks."""
        return list(self._list_jobs())

    @property
    def names(self) -> list[str]:
        """The names of the tasks."""
        return [job.name for job in self.jobs]

    def _list_jobs(self) -> Iterator[SpillCorpus]:
        generation = self.generation
        job = SpillCorpus(
            parts=(),
            options=replace(generation.reading, document_room=self.document_room),
            vocab=generation.vocab,
            config=generation.config,
            folder=self.folder.path,
            name="",
            buffer_bytes=self.plan.buffer_bytes,
        )
        if generation.tokens:
            for dataset in (pool for directory in generation.inputs for pool in list_pools(directory)):
                [shard] = dataset.info.shards
                yield replace(job, token_pools=[dataset], name=self._name("tokens", shard.sha256))
            return
        for parts in divide_parts(list(list_parts(generation.inputs, PART_BYTES))):
            yield replace(job, parts=parts, name=self._name(*map(astuple, parts)))

    def _name(self, *what: object) -> str:
        """The name of a task: a digest of all that the documents in the spill depend on."""
        config = self.generation.config
        places = (config.random_seed, config.eval_fraction, config.cased)
        of_all = (self.generation.reading, self.generation.vocab.sha256, places, version("maskmill"))
        return hashlib.sha256(repr((of_all, what)).encode(errors="surrogateescape")).hexdigest()[:16]

    def finished_share(self) -> float:
        """The share of the tasks that are finished. Removes a spill of other documents that pools were built from."""
        finished = len(self.folder.finished(self.names))
        if finished < len(self.names) and self.folder.is_used:
            self.folder.remove()
            finished = 0
        return finished / max(1, len(self.names))

    def run(self, runner: LocalRunner, progress: str) -> None:
        """Does the tasks that are left. Raises WorkerLostError where a worker process was killed."""
        finished = self.folder.finished(self.names)
        left = [replace(job, progress=progress) for job in self.jobs if job.name not in finished]
        make_folder(self.folder.path)
        self.folder.discard([job.name for job in left])
        runner.run(left)

    def count_corpus(self, rejected: str) -> Counter[str]:
        """What the finished tasks measured, without documents of repeated ids; lists the rejected ones in a folder."""
        if self.generation.tokens:
            return self.generation.tokens.corpus
        corpus = sum((read_result(job.result)[1] for job in self.jobs), Counter[str]())
        for job in self.jobs:
            for name in rejected_names(job.rejected):
                write_bytes(os.path.join(rejected, name), read_bytes(os.path.join(job.rejected, name)))
        repeated = reject_repeated(self.folder.path, self.names) if self.generation.reading.id_field else iter(())
        while some := list(islice(repeated, LISTED_AT_A_TIME)):
            by_part: dict[FilePart, list[Rejected]] = defaultdict(list)
            for document in some:
                corpus.update(count_back(document))
                by_part[document.part].append(document.as_rejected())
            for part, documents in by_part.items():
                add_rejected(rejected, part, documents)
        return +corpus  # without what is 0
