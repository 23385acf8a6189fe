"""Common documents: those with so many copies that one pool could not hold them. They are dealt out to all pools.

Elsewhere all copies of a document are in one pool, because its content decides. A page that stands a million times in a
corpus would then be a pool that no memory holds, and a shard of nothing else. Which copy is in which pool makes no
difference, since they are equal: the pools remain a function of the documents as a multiset.
"""

from collections.abc import Iterable, Iterator

from maskmill.pipeline.instances.pools import Place, Pools, combine_copies, copies_of, with_copies

COPIES_TOGETHER = 100  # copies of a document that are left in its pool, however small the pool is
PARTS_OF_A_POOL = 16  # and those that are one of so many parts of its documents


def most_together(documents: int, pools: Pools) -> int:
    """The copies of a document that are left together, in a corpus of so many documents."""
    return max(COPIES_TOGETHER, documents // (PARTS_OF_A_POOL * len(pools)))


def deal_copies(packed: Iterable[bytes], place: Place, pools: Pools) -> Iterator[tuple[int, bytes]]:
    """The copies of the documents at a place, dealt out one after the other to the pools of their split.

    Args:
        packed: all documents of one digest, in any order.
        place: that of the digest, whose pool gets the first copy.
        pools: of the dataset.

    Yields the numbers of pools and packed documents with the number of copies that the pool has.
    """
    in_split = pools.number_in(place.split)
    before = pools.train if place.split == "eval" else 0
    at = pools.pool_at(place) - before
    for document in combine_copies(packed):
        each, more = divmod(copies_of(document), in_split)
        for step in range(in_split if each else more):
            yield before + (at + step) % in_split, with_copies(document, each + (step < more))
        at += copies_of(document)
