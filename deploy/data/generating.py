"""`generate` at work: check first, say what will be made, have it made here or elsewhere, say what was made."""

import platform
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, get_args

from maskmill.deploy.data.dry_run import show_dry_run
from maskmill.deploy.data.generate import GenerateRequest
from maskmill.deploy.data.generate_elsewhere import generate_elsewhere
from maskmill.deploy.data.generate_here import generate_here
from maskmill.deploy.data.generation import Generation, identify
from maskmill.deploy.engines.local import LocalRunner
from maskmill.deploy.terminal.inputs import check_apart, describe, find_wrong_case, list_documents, load_vocab
from maskmill.deploy.terminal.messages import print_json, warn
from maskmill.deploy.terminal.tables import new_talk, show_summary
from maskmill.pipeline.dataset.outputs import check_output, leave_out_finished
from maskmill.pipeline.dataset.schema import DatasetInfo, Split
from maskmill.pipeline.storage.storage import claim_folder, printable


def generate_datasets(request: GenerateRequest, as_json: bool = False) -> None:
    """Inputs and a vocabulary -> datasets, one for each target.

    What was made, or begun elsewhere, or would be made, is printed with `as_json`.

    Raises InputError before any work where it can be seen to fail.
    """
    console, inputs, targets, options = new_talk(), request.inputs, request.targets, request.options
    tokens, vocab = request.tokens, load_vocab(request.vocab_file)
    files = tokens.files if tokens else list_documents(inputs, request.reading)
    if tokens:
        tokens.require_vocab(vocab)
    runner = options.runner or LocalRunner.prepare(files, options.num_workers)
    for path in (*([] if tokens else [request.vocab_file]), *(target.output for target in targets)):
        check_apart(inputs, files, path, "pools" if tokens else "text")
    targets = [replace(target, identity=identify(target.config, request, vocab)) for target in targets]
    generation = Generation(console, inputs, files, vocab, targets, request.reading, options, tokens)
    if tokens is None and (wrong := find_wrong_case(request.vocab_file, vocab, targets[0].config.cased)):
        warn("; ".join(wrong))
    console.print(f"Reading {describe(files)}")
    if options.dry_run:
        show_dry_run(generation, runner, as_json)
        return

    facts = {
        "inputs": list(map(printable, inputs)),
        "files": len(files),
        **({"tokens_sha256": tokens.sha256s} if tokens else {"reading": asdict(request.reading)}),
        "vocab_file": printable(request.vocab_file),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in ("maskmill", "apache-beam", "numpy", "sentencex")},
    }
    with ExitStack() as stack:
        for target in targets:
            stack.enter_context(claim_folder(target.output))
        for target in leave_out_finished(targets):
            check_output(target, options.overwrite)
        if isinstance(runner, LocalRunner):
            generate_here(generation, runner, facts)
        else:
            job = generate_elsewhere(generation, runner, facts)
            if not options.wait:
                if as_json:
                    print_json([{"dataset": target.output, **job} for target in targets])
                return
    seconds = time.monotonic() - generation.clock
    infos = [DatasetInfo.load(target.output) for target in targets]
    for target, info in zip(targets, infos):
        show_summary(console, target.output, info, seconds)
    console.print(f"Look at it with: maskmill inspect {targets[0].output}")
    if as_json:
        print_json([describe_dataset(target.output, info, seconds) for target, info in zip(targets, infos)])


def describe_dataset(output: str, info: DatasetInfo, seconds: float) -> dict[str, Any]:
    """What a run made, for JSON."""
    return {
        "dataset": output,
        "shards": len(info.shards),
        "bytes": sum(shard.bytes for shard in info.shards),
        "examples": {split: info.examples_of(split) for split in get_args(Split)},
        "counts": info.counts,
        "seconds": round(seconds, 1),
    }
