"""`vocab` and `generate` on the command line: the commands that read documents."""

import os
from collections import Counter
from itertools import zip_longest
from typing import Any, get_args

import click

from maskmill.deploy.engines.engine_options import DATAFLOW, Engine, engine_options
from maskmill.deploy.terminal.cli_types import Bytes, Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import MAKES, READS, RUNS, Command, json_option, option, under
from maskmill.deploy.terminal.options import CASED, DOCUMENTS, NUM_WORKERS, OVERWRITE, REJECTED
from maskmill.pipeline.dataset.config import InstanceConfig, Objective
from maskmill.pipeline.reading.documents import InputFormat, ReadOptions
from maskmill.pipeline.storage.storage import absolute, is_remote
from maskmill.tokenizer.config import VocabConfig

MOST_TOKENS = 1 << 24  # of a vocabulary; BERT's have 30,522 and 119,547


@click.command(
    cls=Command,
    stopped="Stopped; no vocabulary was written.",
    examples=(
        "maskmill vocab corpus/ --output vocab.txt",
        "maskmill vocab 'books/*.jsonl.gz' --text-field body --cased --output cased.txt --vocab-size 28996",
    ),
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@under(READS, *DOCUMENTS, REJECTED)
@under(
    MAKES,
    option("--output", required=True, type=Place(dir_okay=False), help="File to write, such as vocab.txt."),
    option(
        "--vocab-size",
        default=VocabConfig.vocab_size,
        type=Whole(6, MOST_TOKENS),
        metavar="N",
        help="Number of tokens, special tokens included.",
    ),
    CASED,
    option(
        "--min-frequency",
        default=VocabConfig.min_frequency,
        type=Whole(1),
        metavar="N",
        help="Pairs of pieces that occur less often are not merged.",
    ),
    option(
        "--limit-alphabet",
        type=Whole(1, 0x110000),
        metavar="N",
        show_default="a quarter of --vocab-size, at least 1,000, or what fits",
        help="Number of characters to keep, the most frequent first.",
    ),
    option(
        "--reserve",
        default=VocabConfig.reserve,
        type=Whole(0, MOST_TOKENS),
        metavar="N",
        help="Number of tokens [unused0], [unused1], ... for later use.",
    ),
    option(
        "--special-tokens",
        default="",
        show_default=False,
        metavar="[A],[B]",
        help="Additional special tokens.",
    ),
    OVERWRITE,
)
@under(RUNS, NUM_WORKERS)
@engine_options
@json_option("what was made")
def vocab(
    inputs: tuple[str, ...],
    output: str,
    overwrite: bool,
    num_workers: int | None,
    engine: Engine,
    max_rejected: float,
    input_format: InputFormat,
    text_field: str,
    max_document_bytes: int,
    special_tokens: str,
    as_json: bool,
    **config: Any,
) -> None:
    """Train a WordPiece vocabulary on documents.

    INPUT is a file, a folder or a pattern: text, JSONL, Parquet or WikiExtractor's output, plain, .gz, .zst, .bz2 or
    .xz. A tokenizer.json is written beside the vocabulary.
    """
    from maskmill.deploy.data.vocab import train_vocab_file

    with wrong_usage():
        vocab_config = VocabConfig(special_tokens=tuple(filter(None, special_tokens.split(","))), **config)
        reading = ReadOptions(input_format, text_field, max_document_bytes=max_document_bytes)
    where, files = engine.make_runner(inputs, output, num_workers=num_workers)
    train_vocab_file(
        files,
        output,
        vocab_config,
        reading,
        num_workers=num_workers,
        overwrite=overwrite,
        max_rejected=max_rejected,
        runner=where,
        as_json=as_json,
    )


@click.command(
    cls=Command,
    stopped="Stopped; the same command goes on with the shards that are finished.",
    examples=(
        "maskmill generate corpus/ --vocab-file vocab.txt --output shards --eval-fraction 0.02",
        "maskmill generate corpus/ --vocab-file vocab.txt --output shards --dry-run",
        "maskmill generate wiki/ --vocab-file v.txt --output both --max-seq-length 128 --max-seq-length 512",
    ),
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@under(
    READS,
    option("--vocab-file", required=True, type=Place(dir_okay=False), help="Vocabulary, one token a line."),
    *DOCUMENTS,
    option(
        "--id-field",
        metavar="FIELD",
        help="JSONL and Parquet: field of the id of a document. Of documents with the same id, one is kept.",
    ),
    option(
        "--split-sentences",
        default="auto",
        metavar="auto|none|CODE",
        help="none: each line is a sentence. auto: none for text, --language for other formats. CODE: split by the "
        "rules of that language.",
    ),
    option(
        "--language",
        default="en",
        metavar="auto|CODE",
        help="Language used for splitting sentences; auto: guess it from each document's script.",
    ),
    CASED,
    REJECTED,
)
@under(
    "Documents and sentences to leave out",
    option("--min-sentence-tokens", default=1, metavar="TOKENS", help="Shorter sentences are left out."),
    option("--min-document-tokens", default=1, metavar="TOKENS", help="Shorter documents are left out."),
    option("--max-document-tokens", type=int, metavar="TOKENS", help="Longer documents are split into several."),
    option(
        "--exclude-unk-above", type=float, metavar="SHARE", help="Documents with a larger share of [UNK] are left out."
    ),
    option("--dedup", is_flag=True, help="Keep only one of several identical documents."),
)
@under(
    "Instances",
    option(
        "--max-seq-length",
        "lengths",
        default=[InstanceConfig.max_seq_length],
        multiple=True,
        metavar="TOKENS",
        help="Tokens of an instance; BERT takes 512 at most. Given twice, it makes DIR/seq128 and DIR/seq512.",
    ),
    option(
        "--max-predictions-per-seq",
        "predictions",
        type=int,
        multiple=True,
        metavar="TOKENS",
        show_default="length times --masked-lm-prob, rounded up: 20 and 77",
        help="Largest number of masked tokens; once for each --max-seq-length.",
    ),
    option(
        "--masked-lm-prob",
        default=InstanceConfig.masked_lm_prob,
        metavar="SHARE",
        help="Share of the tokens that are masked.",
    ),
    option(
        "--short-seq-prob",
        default=InstanceConfig.short_seq_prob,
        metavar="SHARE",
        help="Probability that a document is cut into shorter sequences.",
    ),
    option(
        "--dupe-factor",
        default=InstanceConfig.dupe_factor,
        metavar="N",
        help="Copies of each document, each with other masks.",
    ),
    option("--whole-word-mask", is_flag=True, help="Mask all tokens of a word together."),
    option(
        "--objective",
        type=click.Choice(get_args(Objective)),
        default=InstanceConfig.objective,
        help="nsp: next sentence (BERT). sop: sentence order (ALBERT). mlm: no pairs (RoBERTa).",
    ),
    option(
        "--random-seed",
        default=InstanceConfig.random_seed,
        type=Whole(-(1 << 63), (1 << 63) - 1),
        metavar="N",
        help="Seed of all random draws; the same seed, documents and options give the same bytes.",
    ),
)
@under(
    MAKES,
    option("--output", required=True, type=Place(file_okay=False), help="Folder to write."),
    option(
        "--eval-fraction",
        default=InstanceConfig.eval_fraction,
        metavar="SHARE",
        help="Share of the documents held out for evaluation.",
    ),
    option(
        "--shards-per-copy",
        type=int,
        metavar="N",
        show_default="by the size of the corpus",
        help="Number of shards of each copy.",
    ),
    option("--compression", type=click.Choice(["none", "gzip"]), default="none", help="Compression of the shards."),
    OVERWRITE,
)
@under(
    RUNS,
    option(
        "--dry-run",
        is_flag=True,
        help="Estimate output, time and memory from a sample of the documents; write nothing.",
    ),
    option(
        "--prices", type=Place(exists=True, dir_okay=False), help="JSON file of prices, for --dry-run with --runner."
    ),
    NUM_WORKERS,
    option(
        "--memory-limit",
        type=Bytes(),
        show_default="half of the machine's memory",
        help="Memory of all processes together, such as 8GB.",
    ),
    option("--no-wait", is_flag=True, help="dataflow: return as soon as the job is submitted."),
)
@engine_options
@json_option("what was made, a list with an object for each dataset")
def generate(
    inputs: tuple[str, ...],
    vocab_file: str,
    output: str,
    lengths: tuple[int, ...],
    predictions: tuple[int, ...],
    num_workers: int | None,
    engine: Engine,
    memory_limit: int | None,
    overwrite: bool,
    dry_run: bool,
    prices: str | None,
    no_wait: bool,
    max_rejected: float,
    input_format: InputFormat,
    text_field: str,
    max_document_bytes: int,
    id_field: str | None,
    split_sentences: str,
    language: str,
    as_json: bool,
    **config: Any,
) -> None:
    """Make BERT pre-training shards from documents.

    INPUT is a file, a folder or a pattern: text, JSONL, Parquet or WikiExtractor's output, plain, .gz, .zst, .bz2 or
    .xz. Run the same command again to continue an interrupted run.
    """
    from maskmill.deploy.data.generate import generate_datasets
    from maskmill.deploy.data.generation import RunOptions
    from maskmill.pipeline.dataset.target import Target

    for length, times in Counter(lengths).items():
        if times > 1:
            raise click.UsageError(f"--max-seq-length {length} is given {times} times; give each length once")
    if predictions and len(predictions) != len(lengths):
        raise click.UsageError(
            f"--max-predictions-per-seq is given {len(predictions)} times; expected once for each --max-seq-length, "
            f"{len(lengths)} times"
        )
    with wrong_usage():
        configs = [
            InstanceConfig(max_predictions_per_seq=1, **config).with_length(length, wanted)
            for length, wanted in zip_longest(lengths, predictions)
        ]
        reading = ReadOptions(
            input_format, text_field, id_field, split_sentences, language, max_document_bytes=max_document_bytes
        )
    where, files = engine.make_runner(inputs, output, num_workers=num_workers, memory_limit=memory_limit)
    folders = [output] if len(lengths) == 1 else [os.path.join(output, f"seq{length}") for length in lengths]
    if where:
        folders = list(map(absolute, folders))
        if where.name == DATAFLOW and not is_remote(output):
            raise click.UsageError(
                f"--output {output} is on this machine; with --runner dataflow give gs://BUCKET/FOLDER"
            )
    elif prices:
        raise click.UsageError("--prices is given without --runner flink, dataflow or portable; here nothing is billed")
    if not no_wait and any(name.startswith("--template_location") for name in inputs):
        raise click.UsageError("--template_location makes a template, for which nobody can wait; it needs --no-wait")
    if no_wait and (where is None or where.name != DATAFLOW):
        raise click.UsageError("--no-wait is given without --runner dataflow")
    targets = [Target(config, folder) for config, folder in zip(configs, folders)]
    options = RunOptions(
        num_workers, where, memory_limit, overwrite, dry_run, max_rejected, wait=not no_wait, prices=prices
    )
    generate_datasets(files, vocab_file, targets, reading, options, as_json)
