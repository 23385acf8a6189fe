"""`generate` on this machine: measure, divide into pools, build the shards in passes that the memory allows."""

import os
import uuid
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from maskmill.deploy.data.generation import Generation
from maskmill.deploy.data.local_plan import LocalPlan, memory_limit
from maskmill.deploy.engines.jobs import run_for_results, share_out
from maskmill.deploy.engines.local import LocalRunner
from maskmill.deploy.engines.memory import document_room
from maskmill.deploy.terminal.inputs import show_reading, warn_of_rejected
from maskmill.deploy.terminal.progress import Done, Work, show_progress
from maskmill.deploy.terminal.talk import warn
from maskmill.deploy.terminal.words import count, duration, in_bytes
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
from maskmill.pipeline.jobs.jobs import GenerateShards, MeasureCorpus
from maskmill.pipeline.jobs.manifest import write_manifest
from maskmill.pipeline.jobs.tally import read_tally
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.duplicates import find_duplicates
from maskmill.pipeline.reading.files import most_parts
from maskmill.pipeline.reading.rejected import REJECTED
from maskmill.pipeline.storage.storage import is_remote
from maskmill.tokenizer.errors import InputError, WorkerLostError

MAX_RETRIES = 3  # of a pass in which a worker process was killed
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LISTINGS = 5.0  # of a folder in Cloud Storage


def generate_here(generation: Generation, runner: LocalRunner, facts: Mapping[str, Any]) -> None:
    """Makes the datasets. Goes on with a run that was interrupted.

    `facts` about the run are written to run.json, with more of them.
    """
    console, options, run = generation.console, generation.options, uuid.uuid4().hex
    room = document_room(memory_limit(options), runner.num_workers)
    reading = replace(generation.reading, document_room=room)
    with runner.scratch() as rejected:
        corpus, duplicates = _measure(generation, runner, reading, rejected)
        targets = [replace(target.with_documents(corpus["fingerprint"]), run=run) for target in generation.targets]
        left = leave_out_finished(targets)
        generation = replace(generation, targets=left)
        if len(left) < len(targets):
            generate_here(generation, runner, facts)
            return
        for target in targets:
            check_output(target, options.overwrite)
        try:
            check_corpus(name_inputs(generation.inputs), corpus, generation.config.objective, options.max_rejected)
        except InputError:
            warn_of_rejected(keep_rejected(rejected, generation.folder))
            raise
        pools = Pools.plan(generation.config, corpus["documents"], corpus["bytes"])
        plan = LocalPlan.of(generation, runner, len(pools), corpus["bytes"])
        plan.passes(range(len(pools)))  # which may fail, before anything is removed
        for target in targets:
            prepare_output(target, options.overwrite)
            place_rejected(rejected, target.output)
            remove_rejected_folder(target.output)
    if count_rejected(corpus):
        warn_of_rejected(os.path.join(generation.folder, REJECTED))
    show_reading(corpus)
    console.print(f"{count(corpus['documents'], 'document')}, {in_bytes(corpus['bytes'])} of text without whitespace")
    build = _Build(generation, runner, pools, duplicates, plan)
    work = generation.weigh(corpus["documents"], corpus["bytes"], pools, build.shards_finished())
    if work.shards_before:
        console.print(f"Going on with an interrupted run: {work.shards_before} of {work.shards} shards are finished")
    pools_left = build.pools_left()
    passes = plan.rounds(pools_left)
    console.print(
        f"Building {count(work.shards, 'shard')}, about {in_bytes(generation.shard_bytes(corpus['bytes']))}, from "
        f"{count(corpus['documents'], 'document')} {plan.describe(pools_left)}: about "
        f"{duration(plan.seconds(work, pools_left, is_measured=True))}"
    )
    with runner.scratch() as scratch:
        build.run(os.path.join(scratch, "tokenized"), work)
    for target in targets:
        about = {**facts, "num_workers": runner.num_workers, "memory_limit": plan.memory_limit, "passes": passes}
        write_manifest(target, generation.vocab, pools, corpus, {**about, **generation.seconds_since_start()})
    for target in targets:
        Unfinished(target.output).remove()  # not before all are whole: else a kill in between could not be gone on from


def _measure(
    generation: Generation, runner: LocalRunner, reading: ReadOptions, rejected: str
) -> tuple[Counter[str], Container[bytes]]:
    """Reads the corpus once, cheaply; returns its measures, and the keys of the documents to leave out.

    Rejected documents are listed in the folder `rejected`.
    """
    if generation.tokens:
        return generation.tokens.corpus, ()
    job = MeasureCorpus(generation.inputs, reading, rejected=rejected)

    def measure(duplicates: Container[bytes]) -> tuple[bytes, Counter[str]]:
        jobs = share_out(runner, replace(job, duplicates=duplicates), most_parts(generation.files))
        arrays, counts = zip(*run_for_results(runner, jobs))
        return b"".join(found["keys"].tobytes() for found in arrays), sum(counts, Counter())

    with generation.console.status("Measuring the corpus"):
        keys, corpus = measure(())
        if duplicates := find_duplicates(keys):
            _, corpus = measure(duplicates)
    return corpus, duplicates


@dataclass(frozen=True)
class _Build:
    """The shards that are to be built."""

    generation: Generation
    runner: LocalRunner
    pools: Pools
    duplicates: Container[bytes]
    plan: LocalPlan

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

    def run(self, progress: str, work: Work) -> None:
        """Builds them; once more those that are missing when a worker process was killed."""
        generation = self.generation
        job = GenerateShards(
            inputs=generation.inputs,
            options=generation.reading,
            vocab=generation.vocab,
            targets=generation.targets,
            pools=self.pools,
            duplicates=self.duplicates,
            progress=progress,
            corpus=generation.tokens.corpus if generation.tokens else None,
        )

        def look() -> Done:
            shards = self.shards_finished()
            return Done(read_tally(progress), shards, int(work.instances * shards / work.shards))

        pause = SECONDS_BETWEEN_LISTINGS if is_remote(generation.folder) else SECONDS_BETWEEN_LOOKS
        with show_progress(generation.console, look, work, pause):
            try:
                self._run_passes(job)
            finally:
                for target in generation.targets:
                    remove_temporaries(target.output)

    def _run_passes(self, job: GenerateShards) -> None:
        for retries_left in reversed(range(MAX_RETRIES + 1)):
            passes = self.plan.passes(self.pools_left())
            try:
                self.runner.run([replace(job, wanted=wanted, targets=self.targets()) for wanted in passes])
                return
            except WorkerLostError:
                if not retries_left:
                    raise
                warn("A worker process was killed; going on with what is finished")
