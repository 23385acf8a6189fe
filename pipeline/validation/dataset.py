"""A whole dataset: its files, its shards, and what only all of them together show."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import MANIFEST, VOCAB, DatasetInfo, ShardInfo, Split
from maskmill.pipeline.storage.storage import list_names
from maskmill.pipeline.validation.files import (
    check_bytes,
    check_manifest,
    check_names,
    check_run,
    check_vocab,
    read_config,
)
from maskmill.pipeline.validation.problems import NAMED, Problem, Problems
from maskmill.pipeline.validation.repeats import EVAL, Repeat, Repeats, find_repeats
from maskmill.pipeline.validation.rules import RULES, rules_for
from maskmill.pipeline.validation.shards import ShardResult, name_of
from maskmill.pipeline.validation.shares import check_labels, check_masking, drawn_labels, note_labels
from maskmill.pipeline.validation.standard import Standard

MOST_HELD_OUT = 0.5  # share of the examples to evaluate on that may have the text of one to train on
FEWEST_HELD_OUT = 100  # of them, from which on that is looked at
MOST_TIMES_USUAL = 4  # as much as what documents to train on share among themselves
SPLITS: tuple[Split, ...] = ("train", "eval")
# Of the examples of a split, by the manifest. The first three are those of a dataset of tokens, which counts copy 0
# before it is masked.
COUNTED = (
    "instances", "random_next", "instance_tokens", "masked_tokens", "masked_as_mask", "masked_as_same",
    "masked_as_random",
)  # fmt: skip


@dataclass
class Validation:
    """What was found in a dataset."""

    problems: Problems = field(default_factory=Problems)
    notes: list[str] = field(default_factory=list)  # what is worth knowing, and right
    shards: int = 0
    bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # as in the manifest, of the examples that keep all rules
    examples: int = 0
    rules: int = 0  # that each was put to
    repeats: Repeats | None = None  # None where they were not looked for


# Puts shards to `validate_shard`; what was found in each, in their order.
ReadShards = Callable[[Standard, Sequence[ShardInfo]], Sequence[ShardResult]]


def validate_dataset(directory: str, read_shards: ReadShards) -> Validation:
    """Proves a dataset, or finds what is wrong with it.

    Args:
        directory: the dataset, here or in Cloud Storage.
        read_shards: puts shards to `validate_shard`.

    Raises:
        InputError: when there is no manifest, or one that cannot be made sense of, or another one at the end.
    """
    dataset = Dataset.open(directory)
    with dataset.unchanged():
        return _validate(dataset, read_shards)


def _validate(dataset: Dataset, read_shards: ReadShards) -> Validation:
    directory, info = dataset.directory, dataset.info
    config = read_config(directory, info)
    names = list_names(directory)
    validation = Validation()
    problems = validation.problems
    problems.add_all(check_manifest(directory, info, config))
    problems.add_all(check_names(directory, info, names))
    problems.add_all(check_run(directory, names))
    vocab = None
    if VOCAB in names:
        vocab, of_vocab = check_vocab(directory, info)
        problems.add_all(of_vocab)
    standard = Standard(config, info.vocab_size, vocab)
    validation.rules = len(rules_for(standard))
    if not vocab:
        validation.notes.append(
            f"Without the vocabulary of {MANIFEST} only {validation.rules} of {len(RULES)} rules were checked."
        )
    present = [shard for shard in _list_copies(info) if shard.path in names]
    results = read_shards(standard, present)
    for shard, result in zip(present, results):
        validation.shards += 1
        validation.bytes += result.bytes
        validation.examples += result.examples
        validation.counts.update(result.counts)
        if result.sha256:
            problems.add_all(check_bytes(shard, result, info.shards))
        problems.merge(result.problems)
    read_all = {shard.path for shard in info.shards} <= set(names) and not any(result.problems for result in results)
    if read_all and vocab:
        of_manifest = Counter[str]()
        for shard, result in zip(present, results):
            if info.format != "tokens" or shard.copy == 0:
                of_manifest.update(result.counts)
        problems.add_all(_check_counts(info, of_manifest))
    if vocab:
        by_shard = [(shard, result.counts) for shard, result in zip(present, results)]
        problems.add_all(_check_shares(validation, info, standard, by_shard))
        _check_repeats(validation, present, [result.keys for result in results], config)
    return validation


def _list_copies(info: DatasetInfo) -> list[ShardInfo]:
    """The shards; of tokens, each copy of a pool that the configuration asks for."""
    if info.format != "tokens":
        return list(info.shards)
    copies = range(info.copies_of_pass)
    train = [replace(shard, copy=copy) for copy in copies for shard in info.shards_of("train")]
    return [*train, *info.shards_of("eval")]


def _check_counts(info: DatasetInfo, counted: Counter[str]) -> Iterator[Problem]:
    """Compares what was counted with the manifest."""
    for split in SPLITS:
        of_split = info.counts.get(split, {})
        for name in COUNTED[: 3 if info.format == "tokens" else None]:
            says, count = of_split.get(name, 0), counted[f"{split}/{name}"]
            if says != count:
                yield Problem("counts", MANIFEST, f"its {split}/{name} is {says:,}, but {count:,} were counted")
        section = f"{split}_lengths"
        lengths = {
            name.removeprefix(f"{section}/"): count for name, count in counted.items() if name.startswith(section)
        }
        if lengths != {name: count for name, count in info.counts.get(section, {}).items() if count}:
            yield Problem("counts", MANIFEST, f"its {section} differ from the lengths that were counted")
        yield from _check_tokens(info, split, counted)


def _check_tokens(info: DatasetInfo, split: Split, counted: Counter[str]) -> Iterator[Problem]:
    """With sop and mlm, each copy holds each token of the documents once, but for those that were truncated."""
    config = InstanceConfig(**info.config)
    of_split = info.counts.get(split, {})
    if config.objective == "nsp" or not of_split:
        return
    specials = (config.max_seq_length - config.max_num_tokens) * counted[f"{split}/instances"]
    found = counted[f"{split}/instance_tokens"] - specials
    found += of_split.get("truncated_tokens", 0) + of_split.get("skipped_chunks", 0)  # which are one token each
    copies = config.train_copies if split == "train" else 1
    expected = of_split.get("tokens", 0) * copies
    if found != expected:
        yield Problem(
            "counts", MANIFEST, f"its {split}/tokens make {expected:,} in all copies, but the shards hold {found:,}"
        )


def _check_shares(
    validation: Validation, info: DatasetInfo, standard: Standard, shards: Sequence[tuple[ShardInfo, Counter[str]]]
) -> Iterator[Problem]:
    """Compares shares of draws with their chances: of each shard, which names it, and of each split."""
    assert standard.vocab
    objective, ordinary = standard.config.objective, len(standard.vocab.ordinary_ids)
    for split in SPLITS:
        of_split = [(shard, _of(counts, split)) for shard, counts in shards if shard.split == split]
        of_pools: dict[int, Counter[str]] = {}
        for shard, counts in of_split:
            of_pools.setdefault(shard.pool, Counter()).update(counts)
        drawn, lonely = drawn_labels(((shard.pool, counts) for shard, counts in of_split), objective)
        for shard, counts in of_split:
            for says in check_masking(counts, ordinary):
                yield Problem("masking_shares", shard.path, says)
            if shard.pool not in lonely and (says_of_labels := check_labels(counts, objective)):
                yield Problem("label_share", shard.path, says_of_labels)
        whole = sum(of_pools.values(), Counter[str]())
        for says in check_masking(whole, ordinary):
            yield Problem("masking_shares", split, says)
        if says_of_labels := check_labels(drawn, objective):
            yield Problem("label_share", split, says_of_labels)
        if lonely and whole["instances"]:
            yield from _check_lonely(validation, info, split, len(lonely), len(of_pools), whole)
        if note := note_labels(drawn, objective):
            validation.notes.append(f"{split}: {note}")


def _of(counts: Counter[str], split: Split) -> Counter[str]:
    return Counter(
        {name.removeprefix(f"{split}/"): count for name, count in counts.items() if name.startswith(f"{split}/")}
    )


def _check_lonely(
    validation: Validation, info: DatasetInfo, split: Split, lonely: int, pools: int, counts: Counter[str]
) -> Iterator[Problem]:
    """Judges pools without any random next: an error where there must be one of several different documents."""
    of_split = info.counts.get(split, {})
    different = of_split.get("documents", 0) - of_split.get("duplicate_documents", 0)
    are_whole = info.config.get("max_document_tokens") is None  # else they are counted in pieces
    if lonely == pools and different > pools and are_whole and (says := check_labels(counts, "nsp")):
        yield Problem("label_share", split, says)
    else:
        validation.notes.append(
            f"No random next in {lonely} of {pools} {split} pools: a document that is alone in its pool has no other "
            "to take one from."
        )


def _check_repeats(
    validation: Validation, shards: Sequence[ShardInfo], keys: Sequence[str | None], config: InstanceConfig
) -> None:
    """Looks for examples that occur twice, and for text to evaluate on that is trained on."""
    repeats = find_repeats(keys, [EVAL if shard.split == "eval" else shard.copy for shard in shards], NAMED)
    validation.repeats = repeats
    problems, notes = validation.problems, validation.notes
    names = [name_of(shard, config) for shard in shards]

    def same(repeat: Repeat, why: str) -> Problem:
        (first, first_record), (second, record) = repeat.first, repeat.second
        says = f"it is the same, masks and all, as record {first_record:,} of {names[first]}, {why}"
        return Problem("repeated", names[second], says, record)

    problems.add_all(same(repeat, "which does not happen by chance") for repeat in repeats.errors)
    for number, unnamed in repeats.unnamed.items():
        problems.add_unnamed("repeated", names[number], unnamed)
    if repeats.too_many and repeats.first_by_chance:
        why = f"one of {repeats.by_chance:,} such pairs, where chance makes about {repeats.expected:,.1f}"
        problems.add(same(repeats.first_by_chance, why))
    elif repeats.by_chance:
        pairs = "1 pair" if repeats.by_chance == 1 else f"{repeats.by_chance:,} pairs"
        notes.append(
            f"{pairs} of equal examples, as repeated short texts make them (about {repeats.expected:,.1f} by chance)."
        )
    problems.add_all(_check_held_out(validation, repeats, max((shard.copy for shard in shards), default=0) + 1))


def _check_held_out(validation: Validation, repeats: Repeats, copies: int) -> Iterator[Problem]:
    """Judges how much of the text to evaluate on is trained on.

    Different documents may well share text. Which of them are held out is drawn by their content, so those share with
    the others what the others share among themselves, in as many copies as there are: what is much more was not held
    out.
    """
    held_out = validation.counts["eval/instances"]
    share = repeats.held_out / max(1, held_out)
    usual = copies * repeats.shared / max(1, validation.counts["train/instances"])
    if held_out >= FEWEST_HELD_OUT and share > max(MOST_HELD_OUT, MOST_TIMES_USUAL * usual):
        says = f"{share:.0%} of its examples have the text of one to train on: its documents are not held out"
        yield Problem("held_out", "eval", says)
    elif repeats.held_out:
        validation.notes.append(
            f"{repeats.held_out:,} of {held_out:,} examples to evaluate on ({share:.1%}) have the text of one to train "
            "on, as different documents that share text have."
        )
