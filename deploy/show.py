"""A dataset on the terminal: its summary, and decoded examples."""

import os
from itertools import islice

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.inputs import load_vocab
from pipeline.examples import decode_example
from pipeline.schema import VOCAB, DatasetInfo, Split
from pipeline.tfrecord import read_records
from tokenizer.vocab import Vocab

# What the labels 0 and 1 of the objectives say, and what a table calls those that are 1.
LABELS = {
    "nsp": ("B is the actual next", "B is a random next"),
    "sop": ("B follows A", "B comes before A"),
    "mlm": ("one segment", "one segment"),
}
LABELLED_1 = {"nsp": "random next", "sop": "swapped"}
MOST_UNKNOWN = 0.05  # share of [UNK] tokens above which a vocabulary is taken for the wrong one


def new_console(quiet: bool = False) -> Console:
    """A console that prints text as it is: names of files and tokens may hold rich's markup."""
    return Console(highlight=False, soft_wrap=True, markup=False, quiet=quiet)


def show_summary(console: Console, output: str, info: DatasetInfo, seconds: float) -> None:
    """Prints what a run made, and what about it looks wrong."""
    size = sum(shard.bytes for shard in info.shards) / 1e6
    console.print(_count_table(info))
    train = info.counts.get("train", {})
    unknown = train.get("unk_tokens", 0) / max(train.get("tokens", 0), 1)
    if unknown > MOST_UNKNOWN:
        console.print(f"{unknown:.0%} of the tokens are [UNK]: the vocabulary does not fit this text.", style="yellow")
    sentence_tokens = train.get("tokens", 0) / max(train.get("sentences", 0), 1)
    if sentence_tokens > info.max_seq_length / 2:
        console.print(
            f"A sentence has {sentence_tokens:,.0f} tokens on average, an instance {info.max_seq_length}: "
            "much is cut off. If a line of your text is a paragraph, give --split-sentences en (or its language).",
            style="yellow",
        )
    if not info.examples_of("train"):
        console.print(
            "No example is left to train on; give more documents or a smaller --eval-fraction.", style="yellow"
        )
    if info.config["eval_fraction"] and not info.examples_of("eval"):
        console.print("No document was set aside for evaluation; give a larger --eval-fraction.", style="yellow")
    for what, count in info.counts.get("filtered", {}).items():
        console.print(f"Left out as asked: {count:,} {what}")
    console.print(f"Wrote {output}: {len(info.shards)} shards, {size:,.1f} MB, in {seconds:.1f} s")


def show_dataset(directory: str, examples: int) -> None:
    """Prints a dataset's manifest as tables, and its first decoded examples."""
    console = new_console()
    info = DatasetInfo.load(directory)
    vocab = load_vocab(os.path.join(directory, VOCAB))
    console.print(_config_table(info))
    console.print(_count_table(info))
    for section, said in (
        ("set_aside", "documents set aside"),
        ("repaired", "documents repaired"),
        ("filtered", "left out"),
    ):
        for reason, count in info.counts.get(section, {}).items():
            console.print(f"{count:,} {said}: {reason}", style="yellow")
    console.print(_shard_table(info))
    records = (record for shard in info.shards for record in read_records(os.path.join(directory, shard.path)))
    for number, record in enumerate(islice(records, examples), 1):
        console.print(f"\nExample {number} of {info.examples_of('train'):,}", style="bold")
        console.print(describe_example(record, vocab, info.config.get("objective", "nsp")), markup=True)


def describe_example(record: bytes, vocab: Vocab, objective: str = "nsp") -> str:
    """A serialised example as text, in rich's markup: segment A in cyan, B in green, predictions as `[MASK→word]`."""
    example = {name: [int(value) for value in values] for name, values in decode_example(record).items()}
    length = sum(example["input_mask"])
    weights = example["masked_lm_weights"]
    labels = {
        position: id
        for position, id, weight in zip(example["masked_lm_positions"], example["masked_lm_ids"], weights)
        if weight
    }
    words = []
    for position in range(length):
        token = vocab.tokens[example["input_ids"][position]]
        if position in labels:
            label = vocab.tokens[labels[position]]
            shown = "MASK" if token == "[MASK]" else "keep" if token == label else token
            words.append(f"[bold magenta]{escape(f'[{shown}→{label}]')}[/]")
        else:
            colour = "green" if example["segment_ids"][position] else "cyan"
            words.append(f"[{colour}]{escape(token)}[/]")
    kind = LABELS[objective][example["next_sentence_labels"][0]]
    return f"{kind}, {length} tokens, {len(labels)} to predict\n{' '.join(words)}"


def _config_table(info: DatasetInfo) -> Table:
    table = Table("configuration", "", title="Dataset", title_justify="left")
    for name, value in info.config.items():
        table.add_row(name, str(value))
    table.add_row("vocabulary", f"{info.vocab_size:,} tokens, sha256 {info.vocab_sha256[:12]}")
    table.add_row("maskmill", info.maskmill_version)
    return table


def _count_table(info: DatasetInfo) -> Table:
    splits: list[Split] = [split for split in ("train", "eval") if info.shards_of(split)]
    table = Table("", *splits)
    for column in table.columns[1:]:
        column.justify = "right"

    def add(name: str, *values: str) -> None:
        table.add_row(name, *values)

    counts = [info.counts.get(split, {}) for split in splits]
    for name in ("documents", "sentences", "tokens", "instances"):
        add(name, *(f"{count.get(name, 0):,}" for count in counts))
    add("duplicate documents", *(f"{count.get('duplicate_documents', 0):,}" for count in counts))
    add("[UNK] tokens", *(_share(count, "unk_tokens", "tokens") for count in counts))
    if label := LABELLED_1.get(info.config.get("objective", "nsp")):
        add(label, *(_share(count, "random_next", "instances") for count in counts))
    add("tokens an instance", *(_mean(count, "instance_tokens", "instances") for count in counts))
    add("truncated tokens", *(_truncated_share(count) for count in counts))
    add("predictions an instance", *(_mean(count, "masked_tokens", "instances") for count in counts))
    for kind in ("mask", "same", "random"):
        add(f"  shown as {kind}", *(_share(count, f"masked_as_{kind}", "masked_tokens") for count in counts))
    return table


def _shard_table(info: DatasetInfo, most: int = 6) -> Table:
    table = Table("shard", "copy", "pool", "examples", "bytes")
    for column in table.columns[1:]:
        column.justify = "right"
    for shard in info.shards[:most]:
        table.add_row(shard.path, str(shard.copy), str(shard.pool), f"{shard.examples:,}", f"{shard.bytes:,}")
    if len(info.shards) > most:
        table.add_row(f"... and {len(info.shards) - most} more")
    return table


def _share(counts: dict[str, int], part: str, whole: str) -> str:
    return f"{counts.get(part, 0) / max(counts.get(whole, 0), 1):.2%}"


def _truncated_share(counts: dict[str, int]) -> str:
    truncated = counts.get("truncated_tokens", 0)
    return f"{truncated / max(truncated + counts.get('instance_tokens', 0), 1):.2%}"


def _mean(counts: dict[str, int], total: str, number: str) -> str:
    return f"{counts.get(total, 0) / max(counts.get(number, 0), 1):.1f}"
