"""Are shares what the rules would draw? Without false alarms, whatever the corpus.

All commands judge shares by these functions: what `validate` says of a dataset, `report` says too.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping

# An alarm is what happens by chance once in e^30, 10^13: there may be thousands of shards, and many datasets.
ALARM = 30.0  # nats
MOST_RANDOM_NEXT = 0.65  # share of the pairs; BERT's rule makes half, and more where documents have few sentences
CLEARLY = 5.0  # nats beyond a threshold: 1 in 150 by chance
MASKING_SHARES = {"mask": 0.8, "same": 0.1, "random": 0.1}


def surprise(hits: int, trials: int, chance: float) -> float:
    """How surprising it is that so many of independent trials hit, in nats: e^-surprise bounds its probability.

    That is Chernoff's bound of the tail that `hits` lies in, exact for any number of trials: n times the relative
    entropy of the share to the chance.

    >>> round(surprise(80, 100, 0.8), 3), round(surprise(75_000, 100_000, 0.8))
    (0.0, 738)
    """
    nats = 0.0
    for count, probability in ((hits, chance), (trials - hits, 1 - chance)):
        if count:
            nats += count * math.log(count / trials / probability) if probability else math.inf
    return max(0.0, nats)


def check_masking(counts: Mapping[str, int], ordinary_tokens: int) -> Iterator[str]:
    """What is wrong with the shares of what stands at the masked positions: a clause each.

    Each is drawn by itself, so no document or copy makes one like another. A random word may be the token itself.

    Args:
        counts: masked_tokens, masked_as_mask, masked_as_same, masked_as_random.
        ordinary_tokens: the tokens that random words are drawn from.
    """
    trials = counts["masked_tokens"]
    unchanged = MASKING_SHARES["random"] / ordinary_tokens
    for kind, share in MASKING_SHARES.items():
        hits = counts[f"masked_as_{kind}"]
        expected = share + unchanged * ((kind == "same") - (kind == "random"))
        # Of [UNK] and of tokens that are not drawn, a random word is never the token itself: so between the two.
        if min(surprise(hits, trials, share), surprise(hits, trials, expected)) > ALARM:
            yield (
                f"{hits / trials:.2%} of {trials:,} masked tokens are shown as {kind}, expected {share:.0%}, "
                f"and not by chance"
            )


def check_labels(counts: Mapping[str, int], objective: str) -> str | None:
    """What is wrong with the share of the label 1, as a clause; None where nothing is.

    With sop each pair is swapped by a draw of its own, with a chance of a half. With nsp each pair is a random next
    with a chance of a half or more, given all the pairs before it: always where A took the chunk's only sentence. So
    the share is bounded from below, by a martingale to which the same bound applies; how many chunks have one sentence
    is the corpus's to decide, in clusters (a document of short target length has many), and bounds nothing from above.

    Args:
        counts: instances, and random_next: those whose label is 1, which there are where there can be any.
        objective: which pairs there are.
    """
    ones, instances = counts["random_next"], counts["instances"]
    if objective == "mlm" or not instances or surprise(ones, instances, 0.5) <= ALARM:
        return None
    share = f"{ones / instances:.2%} of {instances:,} examples"
    if objective == "sop":
        return f"{share} are swapped, expected 50%, and not by chance"
    if ones < instances / 2:
        return f"{share} have a random next, expected 50% or more, and not by chance"
    return None


def drawn_labels(
    shards: Iterable[tuple[Hashable, Mapping[str, int]]], objective: str
) -> tuple[Counter[str], set[Hashable]]:
    """The counts of the pools in which a random next can be, and the other pools.

    A pool of a single document, and its copies, has no other one to take a random next from.

    Args:
        shards: the pool of each, and its counts: instances, and random_next.
        objective: which pairs there are.
    """
    of_pools: dict[Hashable, Counter[str]] = {}
    for pool, counts in shards:
        of_pools.setdefault(pool, Counter()).update(counts)
    lonely = {pool for pool, counts in of_pools.items() if objective == "nsp" and not counts["random_next"]}
    return sum((counts for pool, counts in of_pools.items() if pool not in lonely), Counter[str]()), lonely


def note_labels(counts: Mapping[str, int], objective: str) -> str | None:
    """What is worth knowing about the share of the label 1 although the rules made it, as a sentence."""
    ones, instances = counts["random_next"], counts["instances"]
    if objective != "nsp" or ones <= MOST_RANDOM_NEXT * instances:
        return None
    if surprise(ones, instances, MOST_RANDOM_NEXT) < CLEARLY:
        return None
    return (
        f"{ones / instances:.1%} of the pairs have a random next: many documents have only one sentence, and the label "
        "says little; see --split-sentences and --objective."
    )
