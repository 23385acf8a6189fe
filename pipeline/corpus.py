"""A corpus as it was measured: whether it can be used, and what it is divided into."""

from collections.abc import Mapping, Sequence

from pipeline.config import Objective
from pipeline.plan import Target
from pipeline.pools import Pools
from pipeline.unfinished import Unfinished
from tokenizer.errors import InputError

SET_ASIDE, REPAIRED = "set_aside/", "repaired/"  # before the reason, in the names of counts

Counts = Mapping[str, int]  # by `section/name`, see `ReadDocuments`, and `MeasureText` where it was measured


def count_set_aside(counts: Counts) -> int:
    """The number of documents that were read and cannot be used."""
    return sum(count for name, count in counts.items() if name.startswith(SET_ASIDE))


def list_counts(counts: Counts, section: str) -> str:
    """The counts of a section in words."""
    return "; ".join(f"{n:,} {name.removeprefix(section)}" for name, n in counts.items() if name.startswith(section))


def check_reading(inputs: Sequence[str], counts: Counts, max_rejected: float) -> None:
    """Raises InputError when no documents are left, or more than the share `max_rejected` was set aside."""
    read, rejected = counts.get("documents/read", 0), count_set_aside(counts)
    set_aside = list_counts(counts, SET_ASIDE)
    name = " ".join(inputs)
    if read == rejected:
        found = f"none that can be read ({set_aside})" if set_aside else "none"
        raise InputError(f"INPUT {name} holds no documents: {found}; expected text, or a table with --text-field")
    if rejected > max_rejected * read:
        raise InputError(
            f"{rejected:,} of {read:,} documents in INPUT {name} cannot be used, {rejected / read:.1%}: {set_aside}; "
            f"expected at most --max-rejected {max_rejected:.2g}, so mend them, leave them out, or give a larger share"
        )


def check_corpus(inputs: Sequence[str], corpus: Counts, objective: Objective, max_rejected: float) -> None:
    """Raises InputError when a corpus that was measured is too little for the objective, or too dirty."""
    check_reading(inputs, corpus, max_rejected)
    if corpus["documents"] == 1 and objective == "nsp":
        raise InputError(
            f"INPUT {' '.join(inputs)} is one document; expected two or more, with a blank line between them: "
            "a random next sentence comes from another document (--objective sop and mlm need none)"
        )


def divide_corpus(corpus: Counts, inputs: Sequence[str], targets: Sequence[Target], max_rejected: float) -> Pools:
    """The pools of a corpus that was measured.

    Raises InputError when the corpus cannot be used, or is not that of the run that is gone on with.
    """
    check_corpus(inputs, corpus, targets[0].config.objective, max_rejected)
    for target in targets:
        unfinished = Unfinished(target.output)
        documents = {"documents": corpus["fingerprint"]}
        unfinished.require(documents)
        unfinished.start({**(unfinished.identity() or {}), **documents})
    return Pools.plan(targets[0].config, corpus["documents"], corpus["bytes"])
