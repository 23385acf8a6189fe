"""`maskmill inspect`: what is in a dataset, on the terminal or as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from rich.markup import escape
from rich.table import Table

from maskmill.deploy.datasets.inspect import InspectRequest
from maskmill.deploy.terminal.messages import print_json, warn
from maskmill.deploy.terminal.numbers import in_bytes
from maskmill.deploy.terminal.tables import LABELLED_1, count_table, new_console, new_table
from maskmill.pipeline.analysis.example_selection import ChosenExample, Word, choose_examples, choose_shards
from maskmill.pipeline.analysis.opened_datasets import OpenedDataset, OpenedShard, open_dataset
from maskmill.pipeline.analysis.readable_examples import ReadableExample, make_readable
from maskmill.pipeline.analysis.stats import KINDS, DatasetStats
from maskmill.pipeline.dataset.length_bins import shortest_of_bin
from maskmill.pipeline.dataset.schema import MANIFEST, DatasetInfo
from maskmill.tokenizer.errors import InputError

MOST_SHARDS = 12  # rows of the table
BAR = 40  # columns of the longest bar
MEASURED = 50_000  # examples of TFRecords without a manifest that are counted: half a second
# Sections of the manifest's counts, and what they say of the documents.
TOLD_OF_DOCUMENTS = {"set_aside": "rejected", "repaired": "repaired", "filtered": "filtered"}


def inspect_dataset(request: InspectRequest, as_json: bool = False) -> None:
    """Prints what is in a dataset, and some of its examples.

    Raises InputError when it cannot be read, has no such shard, or the word is in no vocabulary.
    """
    opened, count, grep = open_dataset(request.dataset, request.vocab_file), request.count, request.grep
    shards = opened.shards_of("train") or list(opened.shards)
    if request.shard:
        shards = choose_shards(opened, request.shard)
    word = _parse_word(opened, grep) if grep is not None else None
    if as_json:
        chosen = choose_examples(opened, shards, count, request.random_seed, word)
        print_json(_to_values(opened, chosen))
        return
    console = new_console(unfolded=True)
    if not request.shard:
        for table in _tables(opened):
            console.print(table)
    console.print(_shard_table(shards if request.shard else opened.shards))
    chosen = choose_examples(opened, shards, count, request.random_seed, word)
    for example in chosen:
        console.print(f"\n{example.shard.name}, record {example.record:,}", style="bold")
        readable = make_readable(opened, example.arrays, 0)
        console.print(describe(readable, example.found), markup=True)
    if grep and count and not chosen:
        warn(f"No example holds {grep!r}.")
    if not opened.vocab and count:
        warn("#17 is the token of the id 17: give --vocab-file to see words.")


def describe(example: ReadableExample, found: Sequence[int] = ()) -> str:
    """An example in rich's markup: segment A in cyan, B in green, predictions as `[MASK→word]`.

    `[keep→word]` is a word to be predicted that stands there itself; in `[other→word]` another stands in its place.
    What was found is underlined.
    """
    words = []
    for place, token in enumerate(example.tokens):
        style = "green" if token.segment else "cyan"
        text = token.token
        if token.original is not None:
            shown = {"mask": "MASK", "same": "keep"}.get(str(token.kind), token.token)
            style, text = "bold magenta", f"[{shown}→{token.original}]"
        if place in found:
            style += " underline"
        words.append(f"[{style}]{escape(text)}[/]")
    return (
        f"{example.label_in_words}, {len(example.tokens)} tokens, {example.predictions} to predict\n{' '.join(words)}"
    )


def _parse_word(opened: OpenedDataset, text: str) -> Word:
    if not opened.vocab:
        raise InputError(
            f"--grep {text} needs the vocabulary of {opened.directory}", way_out="give it with --vocab-file"
        )
    cased = opened.info.config.get("cased", False) if opened.info else opened.vocab.looks_cased
    return Word.parse(text, opened.vocab, bool(cased))


def _tables(opened: OpenedDataset) -> list[Table]:
    if opened.info:
        tables = [_config_table(opened.info), count_table(opened.info)]
        if opened.info.counts.get("train_lengths"):
            tables.append(_length_table(opened.info))
        if any(opened.info.counts.get(section) for section in TOLD_OF_DOCUMENTS):
            tables.append(_document_table(opened.info))
        return tables
    return [_known_table(opened), _measured_table(opened)]


def _config_table(info: DatasetInfo) -> Table:
    """Every option that shaped the data."""
    table = new_table("configuration", "", title="Dataset")
    for name, value in info.config.items():
        table.add_row(name, "not given" if value is None else str(value))
    table.add_row("vocabulary", f"{info.vocab_size:,} tokens, sha256 {info.vocab_sha256[:12]}...")
    table.add_row("maskmill", info.maskmill_version)
    return table


def _length_table(info: DatasetInfo) -> Table:
    """The instances of the train split by their length."""
    counts = {int(longest): count for longest, count in info.counts["train_lengths"].items()}
    table = new_table("tokens", "instances", "share", "", title="Lengths (train)", numbers_from=0)
    table.columns[-1].justify, table.columns[-1].no_wrap, table.columns[-1].overflow = "left", True, "crop"
    for longest, count in sorted(counts.items()):
        share = count / max(sum(counts.values()), 1)
        first = shortest_of_bin(longest, info.max_seq_length)
        table.add_row(f"{first}-{longest}", f"{count:,}", f"{share:.2%}", "█" * round(BAR * share))
    return table


def _document_table(info: DatasetInfo) -> Table:
    """What was done to documents, and why."""
    table = new_table("documents", "", "why")
    table.columns[0].justify = "right"
    for section, done in TOLD_OF_DOCUMENTS.items():
        for reason, count in info.counts.get(section, {}).items():
            table.add_row(f"{count:,}", done, reason)
    return table


def _known_table(opened: OpenedDataset) -> Table:
    """What TFRecords tell that have no manifest."""
    names = [stored for ours, stored in opened.stored_names.items() if stored != ours]
    table = new_table("TFRecords", "", title=f"No {MANIFEST}")
    table.add_row("files", f"{len(opened.shards):,}, {in_bytes(sum(shard.bytes for shard in opened.shards))}")
    table.add_row("features", f"TF Model Garden's ({', '.join(names)})" if names else "google-research/bert's")
    table.add_row("max_seq_length", str(opened.max_seq_length))
    table.add_row("max_predictions_per_seq", str(opened.max_predictions_per_seq))
    table.add_row("vocabulary", f"{len(opened.vocab):,} tokens" if opened.vocab else "not known; give --vocab-file")
    table.add_row("[MASK]", f"id {opened.mask_id}" + ("" if opened.vocab else ", as it seems"))
    return table


def _measured_table(opened: OpenedDataset) -> Table:
    """What the first examples look like."""
    stats = DatasetStats.empty(opened.max_seq_length, opened.max_predictions_per_seq, opened.mask_id)
    batches = (batch for shard in opened.shards for batch in opened.read_batches(shard))
    for batch in islice(batches, -(-MEASURED // 4096)):
        stats.add(batch)
    is_all = next(batches, None) is None
    table = new_table("", "all examples" if is_all else f"the first {stats.examples:,}", numbers_from=1)
    table.add_row("instances", f"{stats.examples:,}" if is_all else f"more than {stats.examples:,}")
    if label := LABELLED_1.get(opened.objective):
        table.add_row(label, f"{stats.labels[1] / stats.examples:.2%}")
    table.add_row("tokens an instance", f"{stats.tokens / stats.examples:.1f}")
    table.add_row("predictions an instance", f"{stats.masked / stats.examples:.1f}")
    for kind, number in zip(KINDS, stats.kinds.tolist()):
        table.add_row(f"  shown as {kind}", f"{number / max(stats.masked, 1):.2%}")
    return table


def _shard_table(shards: Sequence[OpenedShard]) -> Table:
    """The files; copy, pool and examples where a manifest tells them."""
    table = new_table("shard", "split", "copy", "pool", "examples", "bytes", numbers_from=2)
    for shard in shards[:MOST_SHARDS]:
        numbers = (shard.copy, shard.pool, shard.examples, shard.bytes)
        table.add_row(shard.name, shard.split, *("" if number is None else f"{number:,}" for number in numbers))
    if len(shards) > MOST_SHARDS:
        table.add_row(f"... and {len(shards) - MOST_SHARDS:,} more, which --json lists")
    return table


def _to_values(opened: OpenedDataset, chosen: Sequence[ChosenExample]) -> Mapping[str, Any]:
    """All of it, for JSON."""
    return {
        "dataset": opened.directory,
        "manifest": opened.info.to_values() if opened.info else None,
        "objective": opened.objective,
        "max_seq_length": opened.max_seq_length,
        "max_predictions_per_seq": opened.max_predictions_per_seq,
        "features": opened.stored_names,
        "vocab_size": len(opened.vocab) if opened.vocab else None,
        "mask_id": opened.mask_id,
        "shards": [asdict(shard) for shard in opened.shards],
        "examples": [
            {
                "shard": example.shard.name,
                "record": example.record,
                **make_readable(opened, example.arrays, 0).to_values(),
                "found": list(example.found),
            }
            for example in chosen
        ],
    }
