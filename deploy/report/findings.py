"""What about a dataset one should know before training on it."""

from collections.abc import Iterator

import numpy as np

from deploy.report.measures import chance_of_share, share
from deploy.report.sequence_figures import EXPECTED_KINDS, KINDS_IN_WORDS
from deploy.report.subject import Subject
from pipeline.looking.stats import KINDS

MOST_PADDING = 0.25  # share of all positions
MOST_UNKNOWN = 0.01  # share of the tokens
MOST_UNUSED = 0.5  # share of the vocabulary
RANDOM_NEXT = (0.4, 0.65)  # share of the pairs; BERT's rule gives half, and more where documents are short
UNEVEN = 2  # times as many examples in the largest shard of a copy as in the smallest
KINDS_OFF = 0.005  # a share of the masked positions, beyond what chance explains


def list_findings(subject: Subject) -> list[str]:
    """Sentences on what stands out, each with the figure and what helps; none where nothing does."""
    return [*_about_sequences(subject), *_about_masking(subject), *_about_text(subject)]


def _about_sequences(subject: Subject) -> Iterator[str]:
    stats, opened = subject.stats, subject.opened
    padding = share(stats.padding, stats.examples * opened.max_seq_length)
    if padding > MOST_PADDING:
        longest = opened.max_seq_length
        yield (
            f"{padding:.0%} of all positions are padding: documents are short for sequences of {longest} tokens. A "
            "smaller --max-seq-length, or --objective mlm, wastes less."
        )
    if opened.objective == "nsp":
        random_next = share(int(stats.labels[1]), stats.examples)
        low, high = RANDOM_NEXT
        chance = chance_of_share(random_next, np.array([stats.examples]))[0]
        if not low - chance <= random_next <= high + chance:
            yield f"{random_next:.1%} of the pairs are a random next; expected are {low:.0%} to {high:.0%}."
    sizes = [one.examples for one in subject.shards]
    if max(sizes) > UNEVEN * min(sizes):
        yield f"Shards hold {min(sizes):,} to {max(sizes):,} sequences: workers that share them have uneven work."


def _about_masking(subject: Subject) -> Iterator[str]:
    stats = subject.stats
    for kind, count, expected in zip(KINDS, stats.kinds.tolist(), EXPECTED_KINDS):
        chance = chance_of_share(expected, np.array([stats.masked]))[0]
        if abs(share(count, stats.masked) - expected) > KINDS_OFF + chance:
            yield (
                f"At {share(count, stats.masked):.1%} of the masked positions stands {KINDS_IN_WORDS[kind]}; BERT's "
                f"rule is {expected:.0%}."
            )


def _about_text(subject: Subject) -> Iterator[str]:
    stats = subject.stats
    unknown = share(subject.unknown_tokens or 0, stats.tokens)
    if unknown > MOST_UNKNOWN:
        yield f"{unknown:.1%} of the tokens are [UNK]: a vocabulary of this text, by maskmill vocab, loses less."
    unused = share(int((stats.token_counts == 0).sum()), len(stats.token_counts))
    if subject.opened.vocab and unused > MOST_UNUSED:
        yield (
            f"{unused:.0%} of the vocabulary never occurs, and its rows of the model's embeddings are not learned. A "
            "smaller vocabulary would do, unless a model is to be continued."
        )
    if aside := sum(subject.counts.get("set_aside", {}).values()):
        read = subject.counts.get("documents", {}).get("read", 0)
        yield f"{aside:,} of {read:,} documents were set aside; rejected-*.jsonl beside the shards lists them."
