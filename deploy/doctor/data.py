"""`doctor`: whether documents, vocabulary and output are such that a run can begin, and end."""

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskmill.deploy.doctor.buckets import bucket_of
from maskmill.deploy.doctor.findings import Check, Finding, attempt
from maskmill.deploy.doctor.request import Request
from maskmill.deploy.engines.engine_options import DATAFLOW
from maskmill.deploy.terminal.numbers import count, in_bytes
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import MANIFEST
from maskmill.pipeline.reading.documents import MAX_REJECTED
from maskmill.pipeline.storage.storage import is_remote

if TYPE_CHECKING:
    from maskmill.pipeline.jobs.estimate import PackedSample
    from maskmill.pipeline.jobs.token_input import TokenInput
    from maskmill.pipeline.reading.sampling import Sample
    from maskmill.tokenizer.vocab import Vocab


def check_data(request: Request, buckets: set[str]) -> Check[None]:
    """Everything about what the run reads and writes; places in other buckets than these are left out."""
    is_dataflow = request.engine.runner == DATAFLOW
    inputs = [name for name in request.inputs if _is_within_reach(name, buckets)]
    files: set[str] = set()
    for name in inputs:
        files.update((yield from attempt(f"input {name}", check_input(name, is_dataflow))) or ())
    chosen = sorted(files)
    if inputs and (tokens := (yield from attempt("tokens", check_tokens(inputs)))):
        yield from _check_output(request, buckets, tokens.vocab, tokens.sample, tokens.packed_sample)
        return
    sample = (yield from attempt("sample", check_sample(chosen, request))) if chosen else None
    vocab = None
    if request.vocab_file and _is_within_reach(request.vocab_file, buckets):
        vocab = yield from attempt("vocabulary", check_vocabulary(request.vocab_file, request.cased))
    if vocab and sample:
        yield from attempt("[UNK]", check_unknown(vocab, sample, request.cased))
    for place in (request.vocab_file, request.output):
        if place and chosen:
            yield from attempt(f"place of {place}", check_place(request.inputs, chosen, place))
    yield from _check_output(request, buckets, vocab, sample)


def _check_output(
    request: Request,
    buckets: set[str],
    vocab: "Vocab | None",
    sample: "Sample | None",
    packed: "PackedSample | None" = None,
) -> Check[None]:
    """Whether there is room for what is made, as far as the sample tells; `packed` are its documents, tokenised."""
    if not request.output or not _is_within_reach(request.output, buckets):
        return
    is_dataflow = request.engine.runner == DATAFLOW
    is_writable = yield from attempt("output", check_output_folder(request.output, is_dataflow))
    if is_writable and vocab and sample and not is_remote(request.output):
        yield from attempt("room", check_room(request, vocab, sample, packed))


def _is_within_reach(place: str, buckets: set[str]) -> bool:
    return not is_remote(place) or not bucket_of(place) or bucket_of(place) in buckets


def check_input(name: str, is_dataflow: bool = False) -> Check[list[str]]:
    """The files that an INPUT names, with their number and size."""
    from maskmill.pipeline.reading.files import list_files
    from maskmill.pipeline.storage.storage import size_of

    check = f"input {name}"
    files = list_files([name])
    sizes = [size_of(file) for file in files]
    empty = sizes.count(0)
    told = f"{count(len(files), 'file')}, {in_bytes(sum(sizes))}"
    locked = [file for file in files if not is_remote(file) and not os.access(file, os.R_OK)]
    if locked:
        found = f"{told}; {len(locked)} cannot be read, such as {locked[0]}"
        yield Finding(check, "wrong", found, "check their permissions, or leave them out")
        return []
    if empty == len(files):
        yield Finding(check, "wrong", f"{told}: nothing is in it", "check where the documents are")
        return []
    if is_dataflow and not is_remote(name):
        remedy = f"copy it: gcloud storage cp -r {name} gs://BUCKET/"
        yield Finding(check, "wrong", f"{told}, on this machine, which the workers of Dataflow do not see", remedy)
    elif empty:
        yield Finding(check, "warning", f"{told}; {empty} empty", "see whether something is missing there")
    else:
        yield Finding(check, "ok", told)
    return files


def check_tokens(inputs: Sequence[str]) -> Check["TokenInput | None"]:
    """Whether the inputs are datasets of tokens, and are whole."""
    from maskmill.pipeline.jobs.token_input import find_tokens

    tokens = find_tokens(inputs)
    if tokens:
        for dataset in tokens.datasets:
            dataset.check_files()
        documents = count(tokens.corpus["documents"], "document")
        yield Finding("tokens", "ok", f"{documents}, tokenized with {len(tokens.vocab):,} tokens; all files are whole")
    return tokens


def check_sample(files: Sequence[str], request: Request) -> Check["Sample | None"]:
    """How many documents of a sample of the files can be used."""
    from maskmill.pipeline.reading.sampling import read_sample

    sample = read_sample(files, request.reading)
    used, rejected = sample.read_documents, sum(sample.rejected.values())
    is_all = sample.share >= 1  # of the input, so that what is said of it is certain
    reasons = "; ".join(f"{number:,} {reason}" for reason, number in sample.rejected.most_common())
    share = "all of the input" if is_all else f"{sample.share:.1%} of the input"
    found = (
        f"{used:,} of {count(used + rejected, 'document')} can be used, in {share}{f': {reasons}' if reasons else ''}"
    )
    if not used:
        remedy = "give --input-format, or --text-field where documents are in another field"
        yield Finding("sample", "wrong", found, remedy)
        return None
    if rejected > MAX_REJECTED * (used + rejected):
        remedy = f"repair them; a run fails where more than {MAX_REJECTED:.0%} are unusable: see --max-rejected"
        yield Finding("sample", "wrong" if is_all else "warning", found, remedy)
    elif is_all and used < 2:
        remedy = "give two documents or more; a blank line stands between documents of a text file"
        yield Finding("sample", "wrong", found, remedy)
    else:
        yield Finding("sample", "ok", found)
    return sample


def check_vocabulary(path: str, cased: bool) -> Check["Vocab"]:
    """Whether a vocabulary loads, and fits `--cased`."""
    from maskmill.deploy.terminal.inputs import find_wrong_case, load_vocab

    vocab = load_vocab(path)
    if wrong := find_wrong_case(path, vocab, cased):
        found, remedy = wrong
        yield Finding("vocabulary", "warning", f"{len(vocab):,} tokens; {found}", remedy)
    else:
        yield Finding("vocabulary", "ok", f"{len(vocab):,} tokens")
    return vocab


def check_unknown(vocab: "Vocab", sample: "Sample", cased: bool) -> Check[None]:
    """The share of the sample's tokens that the vocabulary does not have."""
    from maskmill.deploy.terminal.tables import MOST_UNKNOWN
    from maskmill.tokenizer.fast import FastTokenizer
    from maskmill.tokenizer.vocab import UNK

    lines = (line for document in sample.documents for line in document.text.split("\n"))
    ids, _ = FastTokenizer(vocab, cased).encode(lines)
    unknown = int((ids == vocab.ids[UNK]).sum())
    share = unknown / max(1, len(ids))
    found = f"{share:.2%} of {len(ids):,} tokens of the sample"
    if share > MOST_UNKNOWN:
        remedy = "the vocabulary does not fit this text: train one on it with 'maskmill vocab'"
        yield Finding("[UNK]", "warning", found, remedy)
    else:
        yield Finding("[UNK]", "ok", found)


def check_place(inputs: Sequence[str], files: Sequence[str], place: str) -> Check[None]:
    """Says only where a file or folder would be read as a document."""
    from maskmill.deploy.terminal.inputs import check_apart

    yield from ()
    check_apart(inputs, files, place)


def check_output_folder(output: str, is_dataflow: bool = False) -> Check[bool]:
    """Whether the output can be written, and what is there already; returns the former."""
    from maskmill.pipeline.dataset.outputs import dataset_names
    from maskmill.pipeline.dataset.unfinished import Unfinished
    from maskmill.pipeline.storage.storage import check_writable

    if is_dataflow and not is_remote(output):
        found = f"{output} is on this machine, which the workers of Dataflow do not see"
        yield Finding("output", "wrong", found, "give --output gs://BUCKET/FOLDER")
        return False
    check_writable(output)
    names = dataset_names(output)
    if Unfinished(output).identity() is not None:
        remedy = "the same command goes on with it; else give another folder, or --overwrite"
        yield Finding("output", "warning", f"{output} holds an unfinished run", remedy)
    elif names:
        what = "a dataset" if MANIFEST in names else f"shards but no {MANIFEST}"
        yield Finding("output", "warning", f"{output} holds {what}", "give another folder, or --overwrite")
    else:
        yield Finding("output", "ok", f"{output} can be written to, and holds no dataset")
    return True


def check_room(request: Request, vocab: "Vocab", sample: "Sample", packed: "PackedSample | None" = None) -> Check[None]:
    """Whether the disk has room for a dataset made with generate's defaults."""
    from maskmill.pipeline.jobs.estimate import estimate_copy, tokenize_sample

    config = InstanceConfig(cased=request.cased)
    cost = estimate_copy(packed or tokenize_sample(sample, request.reading, vocab, config.cased), vocab, config)
    needed = cost.shard_bytes * sample.all_content_bytes / max(1, cost.content_bytes) * config.dupe_factor
    folder = os.path.abspath(request.output or os.curdir)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    found = f"a dataset with generate's defaults takes about {in_bytes(needed)}; {in_bytes(free)} are free"
    if needed > free:
        yield Finding(
            "room", "warning", found, "write to a larger disk or a bucket, or make fewer copies: --dupe-factor"
        )
    else:
        yield Finding("room", "ok", found)
