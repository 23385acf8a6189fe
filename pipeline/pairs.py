"""Documents to pairs of segments, A and B (`create_instances_from_document` in google-research/bert).

A pair is five integers: A start, A end, B start, B end (tokens of the pool) and is_random_next.
"""

from bisect import bisect_left
from collections.abc import Callable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pipeline.config import InstanceConfig
from pipeline.pools import Pool

Pairs = NDArray[np.int32]  # [pairs, 5]


def pair_documents(pool: Pool, config: InstanceConfig, rng: np.random.Generator) -> tuple[Pairs, int]:
    """One copy of every document, cut into pairs of whole sentences.

    Sentences gather in a chunk until it holds the target length. A is its first few sentences. B is, half of the
    time and whenever A took the chunk's only sentence, a random next: sentences from a random place in another
    document, and those of the chunk that B did not use open the next chunk. Else B is the rest of the chunk.

    Unlike google-research/bert, a random next never comes from the same document or from another copy of it.
    When the pool holds no other document the pair becomes an actual next, or is skipped where A took everything.

    Returns:
        pairs: int32 [pairs, 5], in document order, before truncation.
        skipped: the number of chunks without a pair.
    """
    sentence_starts: list[int] = pool.sentence_offsets.tolist()
    document_starts: list[int] = pool.document_offsets.tolist()
    copies = _ranges_of_equal(pool.digests)
    draw = _uniform_numbers(rng)
    flat: list[int] = []
    skipped = 0

    for document in range(pool.documents):
        first_copy, end_copies = copies[document]
        others = pool.documents - (end_copies - first_copy)
        end = document_starts[document + 1]
        target_length = config.max_num_tokens
        if draw() < config.short_seq_prob:
            target_length = 2 + int(draw() * (config.max_num_tokens - 1))

        start = document_starts[document]
        while start < end:
            chunk_start = sentence_starts[start]
            chunk_end = bisect_left(sentence_starts, chunk_start + target_length, start + 1, end)
            a_end = start + 1
            if chunk_end - start >= 2:
                a_end += int(draw() * (chunk_end - start - 1))
            split = sentence_starts[a_end]
            is_random_next = a_end == chunk_end or draw() < 0.5

            if is_random_next and others:
                other = int(draw() * others)
                if other >= first_copy:
                    other += end_copies - first_copy
                b_first, b_last = document_starts[other], document_starts[other + 1]
                b_start = b_first + int(draw() * (b_last - b_first))
                b_target = sentence_starts[b_start] + target_length - (split - chunk_start)
                b_end = bisect_left(sentence_starts, b_target, b_start + 1, b_last)
                flat += (chunk_start, split, sentence_starts[b_start], sentence_starts[b_end], 1)
                start = a_end
                continue
            if a_end < chunk_end:
                flat += (chunk_start, split, split, sentence_starts[chunk_end], 0)
            else:
                skipped += 1
            start = chunk_end
    return np.array(flat, np.int32).reshape(-1, 5), skipped


def truncate_pairs(pairs: Pairs, max_num_tokens: int, rng: np.random.Generator) -> Pairs:
    """Shortens each pair to `max_num_tokens`, in closed form.

    google-research/bert drops one token after another from the longer segment (from B on a tie), from its front or
    its back with equal chance. How many tokens a segment keeps is therefore determined, and how many of the dropped
    ones come from its front is binomial.
    """
    pairs = pairs.copy()
    length_a = pairs[:, 1] - pairs[:, 0]
    length_b = pairs[:, 3] - pairs[:, 2]
    half_a, half_b = (max_num_tokens + 1) // 2, max_num_tokens // 2
    kept_a = np.minimum(length_a, np.maximum(half_a, max_num_tokens - length_b))
    kept_b = np.minimum(length_b, np.maximum(half_b, max_num_tokens - length_a))
    for start, kept, length in ((0, kept_a, length_a), (2, kept_b, length_b)):
        pairs[:, start] += rng.binomial(length - kept, 0.5).astype(np.int32)
        pairs[:, start + 1] = pairs[:, start] + kept
    return pairs


def _ranges_of_equal(digests: list[bytes]) -> list[tuple[int, int]]:
    """For each document the range of the documents, itself among them, that have its digest; digests are sorted."""
    ranges: list[tuple[int, int]] = []
    first = 0
    for end in range(1, len(digests) + 1):
        if end == len(digests) or digests[end] != digests[first]:
            ranges += [(first, end)] * (end - first)
            first = end
    return ranges


def _uniform_numbers(rng: np.random.Generator) -> Callable[[], float]:
    """A function that draws uniform numbers in [0, 1), ten times faster than `rng.random()` one by one."""
    return chain.from_iterable(iter(lambda: rng.random(4096).tolist(), None)).__next__
