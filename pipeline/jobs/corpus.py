"""A corpus as it was measured: whether it can be used, and what it is divided into."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from maskmill.pipeline.dataset.config import Objective
from maskmill.pipeline.dataset.outputs import place_rejected, rejected_folder, remove_dataset
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import RUN_ID, Unfinished
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.reading.duplicates import REPEATED, MeasuredDocument
from maskmill.tokenizer.errors import InputError

REJECTED, REPAIRED = "set_aside/", "repaired/"  # before the reason, in the names of counts
OF_READING = ("documents", "set_aside", "repaired")  # sections of a manifest with counts of reading
CORPUS = "corpus"  # the section with what was measured, in the manifest of a dataset of tokens

MANY = 3  # inputs, more of which are not all named

Counts = Mapping[str, int]  # by `section/name`, see `ReadDocuments`, and `MeasureText` where it was measured


def count_rejected(counts: Counts) -> int:
    """The number of documents that were read and cannot be used."""
    return sum(count for name, count in counts.items() if name.startswith(REJECTED))


def list_counts(counts: Counts, section: str) -> str:
    """The counts of a section in words, such as "malformed JSON (1), no field 'text' (2)"."""
    return ", ".join(f"{name.removeprefix(section)} ({n:,})" for name, n in counts.items() if name.startswith(section))


def count_back(document: MeasuredDocument) -> dict[str, int]:
    """What to add to the counts of a corpus, when a document is rejected because of its id."""
    counts = {"documents": -1, "bytes": -document.size, "fingerprint": -document.fingerprint}
    return {**counts, f"{REJECTED}{REPEATED}": 1, **{f"{REPAIRED}{repair}": -1 for repair in document.repairs}}


def name_inputs(inputs: Sequence[str]) -> str:
    """The inputs in words, however many they are.

    >>> name_inputs(["a.txt", "b.txt", "c.txt", "d.txt"])
    'a.txt and 3 more'
    """
    return " ".join(inputs) if len(inputs) <= MANY else f"{inputs[0]} and {len(inputs) - 1:,} more"


def no_documents(name: str, reasons: str) -> InputError:
    """What to raise where the inputs hold none; `reasons` tells why those that it does hold were rejected."""
    found = f"no documents that can be read ({reasons})" if reasons else "no documents"
    return InputError(f"INPUT {name} holds {found}", expected="text, or a table with --text-field")


def check_reading(name: str, counts: Counts, max_rejected: float) -> None:
    """Raises InputError when no documents are left, or more than the share `max_rejected` was rejected.

    `name` is that of the inputs.
    """
    read, rejected = counts.get("documents/read", 0), count_rejected(counts)
    reasons = list_counts(counts, REJECTED)
    if read == rejected:
        raise no_documents(name, reasons)
    if rejected > max_rejected * read:
        raise InputError(
            f"{rejected:,} of {read:,} documents in INPUT {name} cannot be used, {rejected / read:.1%}: {reasons}",
            expected=(
                f"at most --max-rejected {max_rejected:.2g}, so mend them, leave them out, or give a larger share"
            ),
        )


def check_corpus(name: str, corpus: Counts, objective: Objective, max_rejected: float) -> None:
    """Raises InputError when a corpus that was measured is too little for the objective, or too dirty."""
    check_reading(name, corpus, max_rejected)
    if corpus["documents"] == 1 and objective == "nsp":
        raise InputError(
            f"INPUT {name} is one document",
            expected=(
                "two or more, with a blank line between them: a random next sentence comes from another "
                "document (--objective sop and mlm need none)"
            ),
        )


def divide_corpus(
    corpus: Counts,
    name: str,
    targets: Sequence[Target],
    max_rejected: float,
    overwrite: bool,
    listed: Iterable[Any] = (),
) -> Pools:
    """The pools of a corpus that was measured; from here on its datasets are in the making.

    Args:
        corpus: what was measured.
        name: of the inputs.
        targets: the datasets, whose identities hold all but the documents.
        max_rejected: the share of documents that may be rejected.
        overwrite: whether it replaces datasets, which it does here, and but once: an engine may do a step again.
        listed: nothing, when all rejected documents are listed.

    Raises InputError when the corpus cannot be used, or is not that of the run that is gone on with.
    """
    check_corpus(name, corpus, targets[0].config.objective, max_rejected)
    for target in targets:
        unfinished, identity = Unfinished(target.output), target.with_documents(corpus["fingerprint"]).identity
        if overwrite and (unfinished.identity() or {}).get(RUN_ID) != target.run:
            remove_dataset(target.output)
        unfinished.require(identity)
        unfinished.start({**identity, RUN_ID: target.run})
        place_rejected(rejected_folder(targets[0].output), target.output)
    return Pools.plan(targets[0].config, corpus["documents"], corpus["bytes"])
