"""`generate` on this machine: tokenise all documents, divide them into pools, build the shards of each pool."""

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from maskmill.deploy.data.generation import Generation
from maskmill.deploy.data.local_plan import LocalPlan
from maskmill.deploy.data.spilling import Spilling
from maskmill.deploy.engines.local import LocalRunner
from maskmill.deploy.engines.memory import document_room
from maskmill.deploy.terminal.inputs import show_reading, warn_of_rejected
from maskmill.deploy.terminal.messages import warn
from maskmill.deploy.terminal.numbers import count, duration, in_bytes
from maskmill.deploy.terminal.progress import Done, Work, show_progress
from maskmill.pipeline.dataset.outputs import (
    check_output,
    keep_rejected,
    leave_out_finished,
    place_rejected,
    prepare_output,
    remove_rejected_folder,
    remove_temporaries,
)
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.plan import plan_shards
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.jobs.corpus import check_corpus, count_rejected, name_inputs
from maskmill.pipeline.jobs.jobs import BuildPools
from maskmill.pipeline.jobs.manifest import write_manifest
from maskmill.pipeline.jobs.tally import read_tally
from maskmill.pipeline.reading.rejected import REJECTED
from maskmill.pipeline.storage.storage import is_remote, remove_empty_folder
from maskmill.tokenizer.errors import InputError, WorkerLostError

MAX_RETRIES = 3  # of what a worker process did that was killed
KEPT_BYTES = 100_000_000  # of a spill that is kept when a run fails: less is made again in seconds
POOLS_PER_JOB = 32  # pools differ little, so that the workers end at about the same time
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LISTINGS = 5.0  # of a folder in Cloud Storage


def generate_here(generation: Generation, runner: LocalRunner, facts: Mapping[str, Any]) -> None:
    """Makes the datasets. Goes on with a run that was interrupted.

    `facts` about the run are written to run.json, with more of them.
    """
    sample = generation.sample
    pools = generation.estimated_pools
    plan = LocalPlan.of(generation, runner, len(pools), sample.all_content_bytes)
    plan.require_room()
    spilling = Spilling(generation, plan, document_room(plan.worker_bytes))
    try:
        _Run(generation, runner, spilling, facts).run()
    except InputError:
        if spilling.folder.size < KEPT_BYTES:
            spilling.folder.discard(spilling.names)
            remove_empty_folder(spilling.folder.path)
        else:
            warn(
                f"{in_bytes(spilling.folder.size)} of tokenized documents are kept in {spilling.folder.path}; the same "
                "command goes on with them"
            )
        raise
    spilling.folder.remove()


@dataclass(frozen=True)
class _Run:
    """A run on this machine."""

    generation: Generation
    runner: LocalRunner
    spilling: Spilling
    facts: Mapping[str, Any]

    def run(self) -> None:
        """Does what is left to do."""
        generation, options, console = self.generation, self.generation.options, self.generation.console
        run = uuid.uuid4().hex
        self._tokenize()
        with self.runner.scratch() as rejected:
            corpus = self.spilling.count_corpus(rejected)
            targets = [replace(target.with_documents(corpus["fingerprint"]), run=run) for target in generation.targets]
            targets = leave_out_finished(targets)
            generation = replace(generation, targets=targets)
            for target in targets:
                check_output(target, options.overwrite)
            try:
                check_corpus(name_inputs(generation.inputs), corpus, generation.config.objective, options.max_rejected)
            except InputError:
                warn_of_rejected(keep_rejected(rejected, generation.folder))
                raise
            pools = Pools.plan(generation.config, corpus["documents"], corpus["bytes"])
            plan = LocalPlan.of(generation, self.runner, len(pools), corpus["bytes"])
            plan.require_room()  # before anything is removed
            self.spilling.folder.keep(self.spilling.names)
            for target in targets:
                prepare_output(target, options.overwrite)
                place_rejected(rejected, target.output)
                remove_rejected_folder(target.output)
        if count_rejected(corpus):
            warn_of_rejected(os.path.join(generation.folder, REJECTED))
        show_reading(corpus)
        documents = count(corpus["documents"], "document")
        console.print(f"{documents}, {in_bytes(corpus['bytes'])} of text without whitespace")
        build = _Build(generation, self.runner, pools, self.spilling)
        work = generation.weigh(corpus["documents"], corpus["bytes"], pools, build.shards_finished())
        if work.shards_before:
            console.print(
                f"Going on with an interrupted run: {work.shards_before} of {work.shards} shards are finished"
            )
        if not self.spilling.folder.is_whole(pools, build.pools_left()):
            self.spilling.folder.remove()
            self._tokenize()
            with self.runner.scratch() as again:
                self.spilling.count_corpus(again)  # which finds the documents of repeated ids, too
        if not generation.config.dedup:
            folder, tasks = self.spilling.folder, self.spilling.names
            folder.deal(tasks, pools, corpus["documents"], plan.buffer_bytes)
        size = in_bytes(generation.shard_bytes(corpus["bytes"]))
        left = duration(plan.seconds(work.of_building()))
        console.print(f"Building {count(work.shards, 'shard')}, about {size}: about {left}")
        build.run(work)
        for target in targets:
            about = {**self.facts, "num_workers": self.runner.num_workers, "memory_limit": plan.memory_limit}
            write_manifest(target, generation.vocab, pools, corpus, {**about, **generation.seconds_since_start()})
        for target in targets:
            Unfinished(target.output).remove()  # when all are whole: else a kill in between could not be gone on from

    def _tokenize(self) -> None:
        """Tokenises the documents that are not in the spill yet."""
        generation, spilling, sample = self.generation, self.spilling, self.generation.sample
        before = spilling.finished_share()
        if before == 1:
            return
        if before:
            generation.console.print(f"Going on with an interrupted run: {before:.0%} of the documents are tokenized")
        pools = generation.estimated_pools
        work = generation.weigh(sample.all_documents, sample.all_content_bytes, pools).of_tokenizing()
        if sample.read_documents:
            left = duration(spilling.plan.seconds(work) * (1 - before))
            documents = f"about {count(int(sample.all_documents), 'document')}"
            generation.console.print(f"Tokenizing {documents} {spilling.plan.describe()}: about {left}")
        with self.runner.scratch() as scratch:
            progress = os.path.join(scratch, "tokenized")

            def look() -> Done:
                return Done(int(before * sample.all_documents) + read_tally(progress), 0, 0)

            with show_progress(generation.console, look, work, SECONDS_BETWEEN_LOOKS):
                _retry(lambda: spilling.run(self.runner, progress))


@dataclass(frozen=True)
class _Build:
    """The shards that are to be built."""

    generation: Generation
    runner: LocalRunner
    pools: Pools
    spilling: Spilling

    def targets(self) -> list[Target]:
        """The targets, with the shards that are finished by now."""
        return [replace(target, finished=Unfinished(target.output).names()) for target in self.generation.targets]

    def shards_finished(self) -> int:
        """The number of shards that are finished, of all targets."""
        return sum(len(target.finished) for target in self.targets())

    def pools_left(self) -> list[int]:
        """The pools that have a shard which is not finished."""
        targets = self.targets()
        return [
            pool
            for pool in range(len(self.pools))
            if any(
                shard.path not in target.finished
                for target in targets
                for shard in plan_shards(self.pools, target.config, pool)
            )
        ]

    def run(self, work: Work) -> None:
        """Builds them; frees the documents of pools that are finished."""

        def look() -> Done:
            left = self.pools_left()
            self.spilling.folder.free(self.pools, left)
            shards = self.shards_finished()
            return Done(work.documents, shards, int(work.instances * shards / work.shards))

        pause = SECONDS_BETWEEN_LISTINGS if is_remote(self.generation.folder) else SECONDS_BETWEEN_LOOKS
        with show_progress(self.generation.console, look, work.of_building(), pause):
            try:
                _retry(self._run_jobs)
            finally:
                for target in self.generation.targets:
                    remove_temporaries(target.output)

    def _run_jobs(self) -> None:
        left = self.pools_left()
        job = BuildPools(
            folder=self.spilling.folder.path,
            tasks=self.spilling.names,
            wanted=left,
            pools=self.pools,
            vocab=self.generation.vocab,
            targets=self.targets(),
        )
        workers, step = self.runner.num_workers, self.runner.num_workers * POOLS_PER_JOB
        shares = [
            left[first : first + step][worker::workers]
            for first in range(0, len(left), step)
            for worker in range(workers)
        ]
        self.runner.run([replace(job, wanted=wanted) for wanted in shares if wanted])


def _retry(work: Callable[[], None]) -> None:
    """Does work that finds out what of it is left; again where a worker process was killed."""
    for retries_left in reversed(range(MAX_RETRIES + 1)):
        try:
            work()
            return
        except WorkerLostError:
            if not retries_left:
                raise
            warn("A worker process was killed; going on with what is finished")
