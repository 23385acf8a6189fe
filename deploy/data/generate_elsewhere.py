"""`generate` on an engine elsewhere: one job does all of it, here its progress is shown."""

import os
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from maskmill.deploy.data.generation import READINGS_ELSEWHERE, Generation
from maskmill.deploy.engines.memory import POOL_FACTOR, WORKER_BYTES
from maskmill.deploy.engines.remote import RemoteRunner, RunningJob
from maskmill.deploy.terminal.inputs import show_reading, warn_of_rejected
from maskmill.deploy.terminal.numbers import duration
from maskmill.deploy.terminal.progress import Done, Work, show_progress
from maskmill.pipeline.dataset.outputs import (
    keep_rejected,
    leave_out_finished,
    prepare_output,
    rejected_folder,
    remove_rejected_folder,
)
from maskmill.pipeline.dataset.schema import MANIFEST, DatasetInfo
from maskmill.pipeline.dataset.unfinished import RUN_ID, Unfinished
from maskmill.pipeline.jobs.jobs import GenerateDataset
from maskmill.pipeline.jobs.manifest import add_facts, write_about
from maskmill.pipeline.reading.rejected import REJECTED, rejected_names
from maskmill.pipeline.storage.storage import exists, make_folder
from maskmill.tokenizer.errors import EndedError, InputError

SECONDS_BETWEEN_LOOKS = 2.0


def generate_elsewhere(generation: Generation, runner: RemoteRunner, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the datasets, or has it begun where it is not waited for. Goes on with a run that was interrupted.

    `facts` about the run are written to run.json. Returns those about the job, which are added at its end.
    """
    options = generation.options
    if not options.overwrite:
        generation = replace(generation, targets=leave_out_finished(generation.targets))
    console, targets, run = generation.console, list(generation.targets), uuid.uuid4().hex
    work = _weigh(generation)
    runner.check()  # before anything is touched
    if options.overwrite:  # by the job, when it has found the documents to be good
        for target in targets:
            make_folder(target.output)
    else:
        targets = [prepare_output(target, overwrite=False) for target in targets]
    if done := sum(len(target.finished) for target in targets):
        console.print(f"Going on with an interrupted run: {done} shards are finished")
    for target in targets:
        remove_rejected_folder(target.output)
    dag = GenerateDataset(
        inputs=generation.inputs,
        options=generation.reading,
        vocab=generation.vocab,
        targets=[replace(target, run=run) for target in targets],
        max_rejected=options.max_rejected,
        rejected=rejected_folder(generation.folder),
        facts={**facts, "runner": runner.name},
        overwrite=options.overwrite,
        corpus=generation.tokens.corpus if generation.tokens else None,
    )
    console.print(
        f"Building about {work.shards:,} shards, {work.instances:,.0f} instances, from about {work.documents:,} "
        f"documents: about {duration(work.seconds + READINGS_ELSEWHERE * work.read_seconds)} of processor time"
    )
    job = None
    try:
        with console.status(f"Submitting the job to {runner.name}"):
            job = runner.submit(dag, _weigh_worker(generation, work))
        console.print(f"Submitted {job.description}")
        if options.wait:
            _wait(generation, job, work)
    except InputError as error:
        if job is None or isinstance(error, EndedError):  # else it may still run
            for target in targets:
                if not (unfinished := Unfinished(target.output)).names():
                    unfinished.remove()  # nothing to go on with
            warn_of_rejected(keep_rejected(rejected_folder(generation.folder), generation.folder))
        raise
    about = {"runner": runner.name, "job": job.description}
    for target in targets:
        if options.wait:
            add_facts(target.output, run, {**about, **generation.seconds_since_start()})
        elif not exists(os.path.join(target.output, MANIFEST)):  # else it is about the dataset that is to be replaced
            write_about(target.output, {**facts, **about, "identity": {RUN_ID: run}})
    return about


def _wait(generation: Generation, job: RunningJob, work: Work) -> None:
    def look() -> Done:
        shards = sum(len(Unfinished(target.output).names()) for target in generation.targets)
        documents = job.counters.get("documents_tokenized", 0)
        return Done(documents, shards, int(work.instances * shards / work.shards), job.state)

    try:
        with show_progress(generation.console, look, work, SECONDS_BETWEEN_LOOKS):
            job.wait()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(job.leave()) from None
    counts = DatasetInfo.load(generation.targets[0].output).counts
    flat = {
        f"{section}/{name}": n for section in ("set_aside", "repaired") for name, n in counts.get(section, {}).items()
    }
    show_reading(flat)
    if rejected_names(generation.folder):
        warn_of_rejected(os.path.join(generation.folder, REJECTED))


def _weigh_worker(generation: Generation, work: Work) -> int:
    """The bytes of memory that a process takes which builds a pool."""
    return int(WORKER_BYTES + POOL_FACTOR * generation.packed_bytes(work.megabytes * 1e6) / work.pools)


def _weigh(generation: Generation) -> Work:
    """The work of a run, by a sample alone: nothing is measured yet."""
    sample = generation.sample
    pools = generation.estimated_pools
    return generation.weigh(sample.all_documents, sample.all_content_bytes, pools)
