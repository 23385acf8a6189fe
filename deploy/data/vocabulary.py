"""`vocab`: check first, count the words, learn the tokens, say what was made."""

import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from rich.console import Console

from maskmill.deploy.data.vocab import VocabRequest
from maskmill.deploy.engines.jobs import Runner, run_for_results, share_out
from maskmill.deploy.engines.local import LocalRunner
from maskmill.deploy.terminal.inputs import check_apart, describe, list_documents, show_reading
from maskmill.deploy.terminal.messages import print_json, warn
from maskmill.deploy.terminal.tables import new_talk
from maskmill.pipeline.jobs.corpus import check_reading, count_rejected, name_inputs
from maskmill.pipeline.jobs.jobs import CountWords
from maskmill.pipeline.reading.files import most_parts
from maskmill.pipeline.storage.storage import claim_files
from maskmill.tokenizer.config import VocabConfig
from maskmill.tokenizer.counts import MAX_FREQUENT_WORDS, WordCounts
from maskmill.tokenizer.coverage import Coverage, measure_coverage
from maskmill.tokenizer.huggingface import to_tokenizer_json
from maskmill.tokenizer.train import train_vocab
from maskmill.tokenizer.vocab import Vocab

FREQUENT = 1e-4  # of all characters or words: losing one that comes so often is worth a warning
FREQUENT_TOGETHER = 1e-3  # the same for all lost characters together
SHOWN = 10  # characters, words or tokens of each kind


def train_vocab_file(request: VocabRequest, as_json: bool = False) -> None:
    """Inputs -> a vocabulary file and its `tokenizer.json`; with `as_json` what was made is printed.

    Raises InputError before work that can be seen to fail.
    """
    console, inputs, output, config = new_talk(), request.inputs, request.output, request.config
    files = list_documents(inputs, request.reading)
    runner = request.runner or LocalRunner.prepare(files, request.num_workers)
    folder, name = os.path.split(output)
    stem, _ = os.path.splitext(name)
    tokenizer_json = os.path.join(folder, "tokenizer.json" if stem == "vocab" else f"{stem}.tokenizer.json")
    for path in (output, tokenizer_json):
        check_apart(inputs, files, path)
    started = time.monotonic()

    with claim_files([output, tokenizer_json], request.overwrite) as claim:
        console.print(f"Reading {describe(files)}")
        job = CountWords(inputs, request.reading, config.cased)
        counts, documents = _count_corpus(runner, job, most_parts(files), request)
        with console.status("Learning the vocabulary"):
            vocab = train_vocab(counts, config)
            coverage = measure_coverage(vocab, counts)
        with claim.create_file(tokenizer_json) as file:
            file.write(to_tokenizer_json(vocab, config.cased).encode())
        with claim.create_file(output) as file:
            file.write(vocab.to_text().encode())

    seconds = time.monotonic() - started
    _show_vocab(console, vocab, coverage)
    console.print(
        f"Wrote {output} and {os.path.basename(tokenizer_json)}: {len(vocab):,} tokens from {documents:,} documents, "
        f"{coverage.words:,} words, {len(counts):,} of them distinct, in {seconds:.1f} s"
    )
    _warn(vocab, config, coverage)
    if as_json:
        made = {
            "output": output,
            "tokenizer_json": tokenizer_json,
            "vocab_size": len(vocab),
            "documents": documents,
            "words": coverage.words,
            "distinct_words": len(counts),
            "alphabet": coverage.alphabet,
            "lost_characters": coverage.lost_characters,
            "unknown_words": coverage.unknown_words,
            "pieces_per_word": coverage.pieces / coverage.words,
            "seconds": round(seconds, 1),
        }
        print_json(made)


def _count_corpus(runner: Runner, job: CountWords, parts: int, request: VocabRequest) -> tuple[Mapping[str, int], int]:
    """How often each word occurs in the documents, of too many distinct words the frequent ones; and their number.

    The inputs have at most so many `parts`.
    """
    console = new_talk()
    with console.status("Counting words"):
        words, counts_of_reading = _count(runner, job, parts)
    check_reading(name_inputs(request.inputs), counts_of_reading, request.max_rejected)
    show_reading(counts_of_reading)
    documents = counts_of_reading["documents/read"] - count_rejected(counts_of_reading)
    if not words.sketch:
        return words.words, documents
    with console.status("Counting the frequent words"):
        frequent = words.sketch.find_frequent(MAX_FREQUENT_WORDS)
        words, _ = _count(runner, replace(job, frequent=frequent), parts)
    counts = {word: count for word, count in words.words.items() if count >= frequent.floor}
    left_out = 1 - sum(counts.values()) / frequent.occurrences
    warn(
        f"Too many distinct words to hold: those that occur fewer than {frequent.floor} times are left out, "
        f"{left_out:.1%} of the text"
    )
    return counts, documents


def _count(runner: Runner, job: CountWords, parts: int) -> tuple[WordCounts, Counter[str]]:
    """The words of all documents, and the counts of reading."""
    arrays, counts = zip(*run_for_results(runner, share_out(runner, job, parts)))
    words, *others = map(WordCounts.from_arrays, arrays)
    for other in others:
        words.merge(other)
    return words, sum(counts, Counter())


def _show_vocab(console: Console, vocab: Vocab, coverage: Coverage) -> None:
    """Prints what is in a vocabulary, and what becomes of the corpus with it."""
    tokens = [vocab.tokens[id] for id in vocab.ordinary_ids]
    for name, text in {
        "alphabet": f"{coverage.alphabet:,} characters",
        "left out": _most_frequent(coverage.lost_characters, coverage.characters, "characters"),
        "[UNK]": _most_frequent(coverage.unknown_words, coverage.words, "words"),
        "pieces per word": f"{coverage.pieces / coverage.words:.3f}",
        "longest tokens": " ".join(sorted(tokens, key=len, reverse=True)[:SHOWN]),
        "random tokens": " ".join(random.Random(0).sample(tokens, min(SHOWN, len(tokens)))),
    }.items():
        console.print(f"{name:17}{text}")


def _most_frequent(counts: Counter[str], of: int, what: str) -> str:
    if not counts:
        return "nothing"
    examples = ", ".join(f"{_printable(item)} ({count:,})" for item, count in _ranked(counts)[:SHOWN])
    more = f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else ""
    return f"{counts.total() / of:.4%} of the {what}: {examples}{more}"


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _printable(text: str) -> str:
    """A word as it is, clipped; a single character with its code point, which not every font can show."""
    if len(text) == 1:
        return f"{text} U+{ord(text):04X}" if text.isprintable() else f"U+{ord(text):04X}"
    return text if len(text) <= 40 else f"{text[:40]}..."


def _warn(vocab: Vocab, config: VocabConfig, coverage: Coverage) -> None:
    """Says what about a vocabulary will hurt the model, and the way out."""
    if len(vocab) < config.vocab_size:
        way_out = "a larger --limit-alphabet" if coverage.lost_characters else "more text, or a smaller --vocab-size"
        warn(f"That is all there is in this text: {config.vocab_size:,} tokens were asked for. Give {way_out}.")
    lost = _ranked(coverage.lost_characters)
    is_frequent = any(count > FREQUENT * coverage.characters for _, count in lost)
    if is_frequent or coverage.lost_characters.total() > FREQUENT_TOGETHER * coverage.characters:
        warn(
            f"Frequent characters are left out: {', '.join(_printable(char) for char, _ in lost[:SHOWN])}. Every word "
            "with one of them is [UNK]; give a larger --limit-alphabet than "
            f"{config.max_characters:,}, and --vocab-size with it."
        )
    unknown = [_printable(word) for word, n in _ranked(coverage.unknown_words) if n > FREQUENT * coverage.words]
    if unknown:
        warn(f"Frequent words are [UNK]: {', '.join(unknown[:SHOWN])}.")
