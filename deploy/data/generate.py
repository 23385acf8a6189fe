"""`maskmill generate`: its options, and what they ask for."""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, get_args

import click
from click.core import ParameterSource

from maskmill.deploy.engines.engine_options import DATAFLOW, Engine, engine_options
from maskmill.deploy.terminal.cli_types import Bytes, Place, Whole, wrong_usage
from maskmill.deploy.terminal.command import MAKES, READS, RUNS, Command, json_option, option, pick, under
from maskmill.deploy.terminal.options import CASED, DOCUMENTS, NUM_WORKERS, OVERWRITE, REJECTED
from maskmill.pipeline.dataset.config import Format, InstanceConfig, Objective
from maskmill.pipeline.dataset.schema import VOCAB
from maskmill.pipeline.reading.documents import MAX_REJECTED, ReadOptions
from maskmill.pipeline.storage.storage import absolute, is_remote
from maskmill.tokenizer.errors import InputError

if TYPE_CHECKING:
    from maskmill.deploy.engines.remote import RemoteRunner
    from maskmill.pipeline.dataset.target import Target
    from maskmill.pipeline.jobs.token_input import TokenInput


@dataclass(frozen=True)
class RunOptions:
    """How `generate` runs. Nothing of it changes a byte of what is made.

    Raises InputError for options that do not go together.
    """

    num_workers: int | None = None  # None: by the size of the input
    runner: "RemoteRunner | None" = None  # None: on this machine
    memory_limit: int | None = None  # bytes, of all processes together; None: half of the machine's
    temp_dir: str | None = None  # for tokenised documents; None: the folder of the output
    overwrite: bool = False
    dry_run: bool = False
    max_rejected: float = MAX_REJECTED  # share of the documents that may be rejected
    wait: bool = True  # for the end of a job elsewhere
    prices: str | None = None  # a file of prices, for a dry run of such a job

    def __post_init__(self) -> None:
        if self.prices and not self.runner:
            raise InputError(
                "--prices is given without --runner flink, dataflow or portable", way_out="here nothing is billed"
            )
        if self.temp_dir and is_remote(self.temp_dir):
            raise InputError(f"--temp-dir is {self.temp_dir}", expected="a folder on this machine")
        if not self.wait and (self.runner is None or self.runner.name != DATAFLOW):
            raise InputError("--no-wait is given without --runner dataflow")


@dataclass(frozen=True)
class GenerateRequest:
    """What `generate` is asked for."""

    inputs: Sequence[str]
    vocab_file: str
    targets: "Sequence[Target]"  # which differ in the lengths of instances alone
    reading: ReadOptions = field(default_factory=ReadOptions)
    options: RunOptions = field(default_factory=RunOptions)
    tokens: "TokenInput | None" = None  # the inputs, where they are datasets of tokens


@click.command(
    cls=Command,
    stopped="Stopped; the same command goes on with what is finished.",
    examples=(
        "maskmill generate corpus/ --vocab-file vocab.txt --output shards --eval-fraction 0.02",
        "maskmill generate corpus/ --vocab-file vocab.txt --output shards --dry-run",
        "maskmill generate wiki/ --vocab-file v.txt --output both --max-seq-length 128 --max-seq-length 512",
    ),
)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@under(
    READS,
    option(
        "--vocab-file",
        type=Place(dir_okay=False),
        show_default="that of INPUT, if it is a dataset of tokens",
        help="Vocabulary, one token a line.",
    ),
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
    option("--min-sentence-tokens", default=1, metavar="TOKENS", help="Shorter sentences are dropped."),
    option("--min-document-tokens", default=1, metavar="TOKENS", help="Shorter documents are dropped."),
    option("--max-document-tokens", type=int, metavar="TOKENS", help="Longer documents are split into several."),
    option(
        "--exclude-unk-above", type=float, metavar="SHARE", help="Documents with a larger share of [UNK] are dropped."
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
        "--format",
        type=click.Choice(get_args(Format)),
        default=InstanceConfig.format,
        help="tfrecord: tf.train.Examples. parquet: columns, for other trainers. tokens: the tokenized documents, of "
        "which training draws its instances; as INPUT they give datasets of other options.",
    ),
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
    option(
        "--temp-dir",
        type=Place(file_okay=False),
        show_default="the folder of the output",
        help="Folder on this machine for tokenized documents, until the run ends.",
    ),
    option("--no-wait", is_flag=True, help="dataflow: return as soon as the job is submitted."),
)
@engine_options
@json_option("what was made, a list with an object for each dataset")
def generate(engine: Engine, as_json: bool, **given: Any) -> None:
    """Make BERT pre-training shards from documents.

    INPUT is a file, a folder or a pattern: text, JSONL, Parquet or WikiExtractor's output, plain, .gz, .zst, .bz2 or
    .xz; or a dataset that was made with --format tokens. Run the same command again to continue an interrupted run.
    """
    from maskmill.deploy.data.generating import generate_datasets

    source_of = click.get_current_context().get_parameter_source
    chosen = {name for name in given if source_of(name) not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)}
    generate_datasets(make_request(engine, given, chosen), as_json)


def make_request(engine: Engine, given: Mapping[str, Any], chosen: Collection[str]) -> GenerateRequest:
    """The options of the command as a request; `chosen` are the names of those that have no default value.

    Raises UsageError for options that do not go together.
    """
    from maskmill.pipeline.jobs.token_input import find_tokens

    local = pick(RunOptions, given, "overwrite", "dry_run", "max_rejected", "prices")  # what an engine decides itself
    runner, inputs = engine.make_runner(given["inputs"], given["output"], **local)
    tokens = find_tokens(inputs)
    if tokens:
        given = settle_tokens(given, chosen, tokens)
    elif given["vocab_file"] is None:
        raise click.UsageError("--vocab-file is missing; expected a vocabulary, such as one from 'maskmill vocab'")
    with wrong_usage():
        configs = make_configs(given)
        reading = ReadOptions(**pick(ReadOptions, given))
    if runner and runner.name == DATAFLOW and not is_remote(given["output"]):
        raise click.UsageError(
            f"--output {given['output']} is on this machine; with --runner dataflow give gs://BUCKET/FOLDER"
        )
    if not given["no_wait"] and any(name.startswith("--template_location") for name in given["inputs"]):
        raise click.UsageError("--template_location makes a template, for which nobody can wait; it needs --no-wait")
    with wrong_usage():
        options = RunOptions(runner=runner, wait=not given["no_wait"], **pick(RunOptions, given))
    output = absolute(given["output"]) if runner else given["output"]
    folders = [output] if len(configs) == 1 else [os.path.join(output, f"seq{one.max_seq_length}") for one in configs]
    from maskmill.pipeline.dataset.target import Target

    targets = list(map(Target, configs, folders))
    return GenerateRequest(inputs, given["vocab_file"], targets, reading, options, tokens)


def settle_tokens(given: Mapping[str, Any], chosen: Collection[str], tokens: "TokenInput") -> Mapping[str, Any]:
    """The options where the input is tokens: those that are not chosen are as the tokens were made.

    Raises UsageError where one is chosen that decides how documents are read.
    """
    name = tokens.datasets[0].directory
    of_reading = [one for one in (*ReadOptions.__dataclass_fields__, "cased") if one in chosen]
    for one in of_reading:
        if one != "cased" or not tokens.config.cased:
            option_name = f"--{one.replace('_', '-')}"
            raise click.UsageError(
                f"{option_name} is given, and INPUT {name} is tokenised already; leave it out, or give the documents"
            )
    config = tokens.config
    settled = {**given, "vocab_file": given["vocab_file"] or os.path.join(name, VOCAB)}
    for field_name in InstanceConfig.__dataclass_fields__.keys() & given.keys() - {*chosen, "format"}:
        settled[field_name] = getattr(config, field_name)
    if "lengths" not in chosen:
        settled["lengths"] = (config.max_seq_length,)
        if "predictions" not in chosen and "masked_lm_prob" not in chosen:
            settled["predictions"] = (config.max_predictions_per_seq,)
    return settled


def make_configs(given: Mapping[str, Any]) -> list[InstanceConfig]:
    """The configuration of each dataset, one for each --max-seq-length. Raises InputError where one makes no sense."""
    lengths, predictions = given["lengths"], given["predictions"]
    for length, times in Counter(lengths).items():
        if times > 1:
            raise InputError(f"--max-seq-length {length} is given {times} times", way_out="give each length once")
    if predictions and len(predictions) != len(lengths):
        raise InputError(
            f"--max-predictions-per-seq is given {len(predictions)} times",
            expected=f"once for each --max-seq-length, {len(lengths)} times",
        )
    if given["format"] == "tokens" and len(lengths) > 1:
        raise InputError(
            f"--format tokens is given with {len(lengths)} lengths",
            way_out="give one: a dataset of tokens serves every length, which training chooses",
        )
    config = InstanceConfig(max_predictions_per_seq=1, **pick(InstanceConfig, given))
    return [config.with_length(length, wanted) for length, wanted in zip_longest(lengths, predictions)]
