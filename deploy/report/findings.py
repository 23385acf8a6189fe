"""What about a dataset one should know before training on it."""

from collections import Counter
from collections.abc import Iterator

from maskmill.deploy.report.subject import ReportedDataset
from maskmill.deploy.terminal.tables import MOST_UNKNOWN
from maskmill.pipeline.analysis.chart_values import share
from maskmill.pipeline.analysis.stats import KINDS
from maskmill.pipeline.validation.shares import check_labels, check_masking, drawn_labels, note_labels

MOST_PADDING = 0.25  # share of all positions
MOST_UNUSED = 0.5  # share of the vocabulary
UNEVEN = 2  # times as many examples in the largest shard of a copy as in the smallest
BERTS_VOCAB_SIZE = 30_522  # assumed where the vocabulary is not known


def list_findings(subject: ReportedDataset) -> list[str]:
    """Sentences on what stands out, each with the figure and what helps; none where nothing does."""
    return [*_about_sequences(subject), *_about_masking(subject), *_about_text(subject)]


def _about_sequences(subject: ReportedDataset) -> Iterator[str]:
    stats, opened = subject.stats, subject.opened
    padding = share(stats.padding, stats.examples * opened.max_seq_length)
    if padding > MOST_PADDING:
        longest = opened.max_seq_length
        yield (
            f"{padding:.0%} of all positions are padding: documents are short for sequences of {longest} tokens. A "
            "smaller --max-seq-length, or --objective mlm, wastes less."
        )
    shards = [
        (shard.name if shard.pool is None else shard.pool, Counter(instances=one.examples, random_next=one.labels[1]))
        for one in subject.shards
        for shard in [one.shard]
    ]
    drawn, _ = drawn_labels(shards, opened.objective)
    if not drawn:  # no pool has a random next
        drawn = Counter(instances=stats.examples, random_next=int(stats.labels[1]))
    if problem := check_labels(drawn, opened.objective):
        yield f"{problem}."
    if note := note_labels(drawn, opened.objective):
        yield note
    sizes = [one.examples for one in subject.shards]
    if max(sizes) > UNEVEN * min(sizes):
        yield f"Shards hold {min(sizes):,} to {max(sizes):,} sequences: workers that share them have uneven work."


def _about_masking(subject: ReportedDataset) -> Iterator[str]:
    stats, vocab = subject.stats, subject.opened.vocab
    counts = {f"masked_as_{kind}": count for kind, count in zip(KINDS, stats.kinds.tolist())}
    ordinary = len(vocab.ordinary_ids) if vocab else BERTS_VOCAB_SIZE
    for problem in check_masking({"masked_tokens": stats.masked, **counts}, ordinary):
        yield f"{problem}."


def _about_text(subject: ReportedDataset) -> Iterator[str]:
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
    if rejected := sum(subject.counts.get("set_aside", {}).values()):
        read = subject.counts.get("documents", {}).get("read", 0)
        yield f"{rejected:,} of {read:,} documents were rejected; rejected-*.jsonl beside the shards lists them."
