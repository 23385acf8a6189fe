"""Documents to pairs of segments, A and B: one function for each objective, nsp, sop and mlm.

A pair is five integers: A start, A end, B start, B end (tokens of the pool) and is_random_next.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.instances.pools import Pool

Pairs = NDArray[np.int32]  # [pairs, 5]
Draw = Callable[[], float]  # a uniform number in [0, 1)


def pair_documents(pool: Pool, config: InstanceConfig, rng: np.random.Generator) -> tuple[Pairs, int]:
    """One copy of every document, cut into the pairs that the objective learns from.

    Returns:
        pairs: int32 [pairs, 5], in document order, before truncation. is_random_next is 1 where B does not follow A;
            where the objective is mlm B is empty.
        skipped: the number of chunks without a pair.
    """
    draw = _uniform_numbers(rng)
    match config.objective:
        case "nsp":
            flat, skipped = _pair_next_sentences(pool, config, draw)
        case "sop":
            flat, skipped = _pair_ordered_sentences(pool, config, draw)
        case "mlm":
            flat, skipped = _pack_sentences(pool, config, draw), 0
    return np.fromiter(flat, np.int32, len(flat)).reshape(-1, 5), skipped


def _pair_next_sentences(pool: Pool, config: InstanceConfig, draw: Draw) -> tuple[list[int], int]:
    """Pairs of whole sentences (`create_instances_from_document` in google-research/bert), and the chunks skipped.

    Sentences gather in a chunk until it holds the target length. A is its first few sentences. B is, half of the
    time and whenever A took the chunk's only sentence, a random next: sentences from a random place in another
    document, and those of the chunk that B did not use open the next chunk. Else B is the rest of the chunk.

    Unlike google-research/bert, a random next never comes from the same document or from another copy of it.
    When the pool holds no other document the pair becomes an actual next, or is skipped where A took everything.
    """
    sentence_starts: list[int] = pool.sentence_offsets.tolist()
    document_starts: list[int] = pool.document_offsets.tolist()
    copies = _ranges_of_equal(pool.digests)
    flat: list[int] = []
    skipped = 0

    for document in range(pool.documents):
        first_copy, end_copies = copies[document]
        others = pool.documents - (end_copies - first_copy)
        start, end = document_starts[document], document_starts[document + 1]
        target_length = _draw_target_length(config, draw)

        while start < end:
            a_end, chunk_end = _gather_chunk(sentence_starts, start, end, target_length, draw)
            chunk_start, split = sentence_starts[start], sentence_starts[a_end]
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
    return flat, skipped


def _pair_ordered_sentences(pool: Pool, config: InstanceConfig, draw: Draw) -> tuple[list[int], int]:
    """Pairs that follow each other, half of them swapped (ALBERT, Lan et al. 2020), and the chunks skipped.

    Chunks gather as for the next sentence. A is the first few sentences of one, B the rest; half of the time they
    are swapped, which is_random_next tells. A chunk of one sentence is split between any two of its tokens, where
    google-research/albert draws B from another document, and skipped where it is a single token.
    """
    sentence_starts: list[int] = pool.sentence_offsets.tolist()
    flat: list[int] = []
    skipped = 0

    for start, end in pairwise(pool.document_offsets.tolist()):
        target_length = _draw_target_length(config, draw)
        while start < end:
            a_end, chunk_end = _gather_chunk(sentence_starts, start, end, target_length, draw)
            first, split, last = sentence_starts[start], sentence_starts[a_end], sentence_starts[chunk_end]
            if split == last:
                split = first + 1 + int(draw() * (last - first - 1))
            if split == last:
                skipped += 1
            elif draw() < 0.5:
                flat += (split, last, first, split, 1)
            else:
                flat += (first, split, split, last, 0)
            start = chunk_end
    return flat, skipped


def _pack_sentences(pool: Pool, config: InstanceConfig, draw: Draw) -> list[int]:
    """As many whole sentences as fit, in A alone (RoBERTa, Liu et al. 2019: DOC-SENTENCES).

    A sentence longer than a short target length is an instance of its own. One longer than an instance opens one,
    which it fills, and goes on in the next ones; the sentences after it join what remains of it. Every token is in
    exactly one instance, and nothing is truncated.
    """
    sentence_starts: list[int] = pool.sentence_offsets.tolist()
    flat: list[int] = []

    for first, last in pairwise(pool.document_offsets.tolist()):
        target_length = _draw_target_length(config, draw)
        start, end = sentence_starts[first], sentence_starts[last]
        while start < end:
            following = bisect_right(sentence_starts, start + target_length, first, last + 1)
            stop = sentence_starts[following - 1]
            if stop <= start:
                stop = min(sentence_starts[following], start + config.max_num_tokens)
            flat += (start, stop, stop, stop, 0)
            start = stop
    return flat


def _draw_target_length(config: InstanceConfig, draw: Draw) -> int:
    """The length, in tokens, that the chunks of a document are to have: now and then a short one."""
    if draw() < config.short_seq_prob:
        return 2 + int(draw() * (config.max_num_tokens - 1))
    return config.max_num_tokens


def _gather_chunk(sentence_starts: list[int], start: int, end: int, target_length: int, draw: Draw) -> tuple[int, int]:
    """The sentence at which A ends, and that at which the chunk from sentence `start` does.

    A chunk holds the target length or more, or ends with its document. A is all of it only if it is one sentence.
    """
    chunk_end = bisect_left(sentence_starts, sentence_starts[start] + target_length, start + 1, end)
    a_end = start + 1
    if chunk_end - start >= 2:
        a_end += int(draw() * (chunk_end - start - 1))
    return a_end, chunk_end


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


def _uniform_numbers(rng: np.random.Generator) -> Draw:
    """A function that draws uniform numbers in [0, 1), ten times faster than `rng.random()` one by one."""
    return chain.from_iterable(iter(lambda: rng.random(4096).tolist(), None)).__next__
