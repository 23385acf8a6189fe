"""What is dropped of tokenised documents when the user asks for it."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import InstanceConfig

Ids = NDArray[np.unsignedinteger]
Lengths = NDArray[np.unsignedinteger]


def filter_document(
    ids: Ids, lengths: Lengths, config: InstanceConfig, unk_id: int, counts: Counter[str]
) -> Iterator[tuple[Ids, Lengths]]:
    """A document to what is kept of it: nothing, itself, or the pieces that it is cut into.

    Short sentences go first, then a document with too many `[UNK]`, then it is cut, then what is short goes.

    Args:
        ids: of its tokens [tokens].
        lengths: of its sentences, in tokens [sentences].
        config: what is asked for.
        unk_id: of `[UNK]`.
        counts: counts what is dropped.
    """
    if config.min_sentence_tokens > 1:
        is_long = lengths >= config.min_sentence_tokens
        counts["short sentences"] += int((~is_long).sum())
        ids, lengths = ids[np.repeat(is_long, lengths)], lengths[is_long]
    if config.exclude_unk_above is not None and len(ids) and (ids == unk_id).mean() > config.exclude_unk_above:
        counts["documents with many [UNK]"] += 1
        return
    for piece_ids, piece_lengths in _cut(ids, lengths, config, counts):
        if len(piece_ids) < max(1, config.min_document_tokens):
            counts["short documents"] += 1
        else:
            yield piece_ids, piece_lengths


def _cut(ids: Ids, lengths: Lengths, config: InstanceConfig, counts: Counter[str]) -> Iterator[tuple[Ids, Lengths]]:
    """Pieces of whole sentences, each as long as may be; a sentence that is longer is a piece of its own."""
    longest = config.max_document_tokens
    if longest is None or len(ids) <= longest:
        yield ids, lengths
        return
    counts["documents cut"] += 1
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    first = 0
    while first < len(lengths):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + longest, side="right")) - 1)
        yield ids[ends[first] : ends[last]], lengths[first:last]
        first = last
