"""The command line. A command imports what it needs in its body, so that `maskmill --help` answers at once."""

import os
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any, get_args

import click

from deploy.cli_types import Bytes, Place, wrong_usage
from deploy.engine_options import DATAFLOW, Engine, engine_options
from deploy.look_cli import compare, inspect, report, validate
from deploy.model_cli import evaluate, export, train
from deploy.tpu_cli import tpu_commands
from deploy.use_cli import embed, fill_mask
from pipeline.config import InstanceConfig, Objective
from pipeline.documents import MAX_REJECTED, InputFormat, ReadOptions
from pipeline.storage import is_remote
from tokenizer.config import VocabConfig
from tokenizer.errors import InputError

# By module: what pip is to install.
MODULES_OF_EXTRAS = {
    **dict.fromkeys(("keras", "tensorboard", "safetensors", "uniplot"), "'.[train]', or '.[jax]' to run on JAX"),
    **dict.fromkeys(("matplotlib", "jinja2"), "'.[report]'"),
    "tensorflow": "'.[train]'",
    "scipy": "'.[compare]'",
    "jax": "'.[jax]'",
}


class MaskmillGroup(click.Group):
    """Commands whose errors end as one sentence and exit code 1; wrong usage is 2, as click has it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which one uses them, which is that of their definition."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            sentence = find_sentence(error)
            if sentence is None:
                raise
            raise click.ClickException(sentence) from error


def find_sentence(error: Exception) -> str | None:
    """What to tell the user about an error; None when it is a bug of ours, whose traceback should be seen."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        module = error.name.split(".")[0]
        if extras := MODULES_OF_EXTRAS.get(module):
            return f"this command needs {module}, not installed here; in maskmill's folder run: pip install {extras}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be used ({error.strerror}); check the path, its permissions and the free space"
    return None


@click.group(cls=MaskmillGroup, context_settings={"show_default": True, "max_content_width": 110})
@click.version_option(package_name="maskmill")
def main() -> None:
    """Raw documents to BERT pre-training shards on Apache Beam, and a Keras BERT trained on them.

    \b
    On your own text:
      maskmill vocab    corpus/ --output vocab.txt
      maskmill generate corpus/ --vocab-file vocab.txt --output shards --eval-fraction 0.02
      maskmill train    shards  --model-dir model
      maskmill evaluate shards  --model-dir model
    """  # noqa: D301, click's \b


def format_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say what documents look like."""
    for option in (
        click.option("--text-field", default="text", help="JSONL and Parquet: what holds the document; a.b is b in a."),
        click.option(
            "--input-format",
            type=click.Choice(get_args(InputFormat)),
            default="auto",
            help="text: a sentence per line, a blank line between documents. lines: a document per line. jsonl: an "
            "object per line. wiki: WikiExtractor's <doc>. auto: by content and name.",
        ),
    ):
        command = option(command)
    return command


def reading_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of the commands that read documents."""
    for option in (
        click.option("--num-workers", type=click.IntRange(1), help="Processes. [default: by the size of the input]"),
        click.option(
            "--max-rejected",
            default=MAX_REJECTED,
            type=click.FloatRange(0, 1),
            help="Share of the documents that may be unusable before the run fails.",
        ),
        format_options,
    ):
        command = option(command)
    return command


@main.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--output", required=True, type=Place(dir_okay=False), help="File to write, such as vocab.txt.")
@click.option(
    "--vocab-size", default=VocabConfig.vocab_size, type=click.IntRange(6), help="Tokens, special ones included."
)
@click.option("--cased", is_flag=True, help="Keep case and accents.")
@click.option(
    "--min-frequency",
    default=VocabConfig.min_frequency,
    type=click.IntRange(1),
    help="Pieces that occur less often are not joined.",
)
@click.option(
    "--limit-alphabet",
    type=click.IntRange(1),
    help="Characters kept, the most frequent. [default: a quarter of --vocab-size, at least 1,000, or what fits]",
)
@click.option(
    "--reserve", default=VocabConfig.reserve, type=click.IntRange(0), help="Tokens [unused0] and so on, for later use."
)
@click.option("--special-tokens", default="", metavar="[A],[B]", help="More special tokens, beside BERT's own.")
@click.option("--overwrite", is_flag=True, help="Replace the files if they exist.")
@reading_options
@engine_options
def vocab(
    inputs: tuple[str, ...],
    output: str,
    overwrite: bool,
    num_workers: int | None,
    engine: Engine,
    max_rejected: float,
    input_format: InputFormat,
    text_field: str,
    special_tokens: str,
    **config: Any,
) -> None:
    """Train a WordPiece vocabulary on documents.

    INPUT is a file, a folder or a pattern: text, JSONL, Parquet or WikiExtractor's output, plain, .gz, .zst, .bz2 or
    .xz. Beside the vocabulary stands its tokenizer.json.
    """
    from deploy.vocabulary import train_vocab_file

    with wrong_usage():
        vocab_config = VocabConfig(special_tokens=tuple(filter(None, special_tokens.split(","))), **config)
    reading = ReadOptions(input_format, text_field)
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
    )


@main.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--vocab-file", required=True, type=Place(), help="Vocabulary, one token a line.")
@click.option("--output", required=True, type=Place(file_okay=False), help="Folder to write.")
@click.option(
    "--max-seq-length",
    "lengths",
    default=[InstanceConfig.max_seq_length],
    multiple=True,
    help="Tokens of an instance; BERT takes 512 at most. Given twice, two datasets: DIR/seq128 and DIR/seq512.",
)
@click.option(
    "--max-predictions-per-seq",
    "predictions",
    type=int,
    multiple=True,
    help="Masked tokens, for each length. [default: length times --masked-lm-prob, rounded up: 20 and 77]",
)
@click.option("--masked-lm-prob", default=InstanceConfig.masked_lm_prob, help="Share of the tokens to predict.")
@click.option("--short-seq-prob", default=InstanceConfig.short_seq_prob, help="Share of short documents.")
@click.option("--dupe-factor", default=InstanceConfig.dupe_factor, help="Copies, differently masked.")
@click.option("--whole-word-mask", is_flag=True, help="Mask all pieces of a word together.")
@click.option("--cased", is_flag=True, help="Keep case and accents, as the vocabulary does.")
@click.option("--eval-fraction", default=InstanceConfig.eval_fraction, help="Documents set aside, as a share.")
@click.option("--random-seed", default=InstanceConfig.random_seed, help="Same seed, documents and options: same bytes.")
@click.option(
    "--split-sentences",
    default="auto",
    metavar="auto|none|CODE",
    help="none: a line is a sentence. auto: none for text, --language for other formats. CODE: that language.",
)
@click.option(
    "--language", default="en", metavar="auto|CODE", help="What 'auto' splits in. auto: by each document's script."
)
@click.option("--id-field", help="JSONL and Parquet: what names a document. Of those with one name, one is kept.")
@click.option("--min-sentence-tokens", default=1, help="Shorter sentences are left out.")
@click.option("--min-document-tokens", default=1, help="Shorter documents are left out.")
@click.option("--max-document-tokens", type=int, help="Longer documents are cut into several.")
@click.option("--exclude-unk-above", type=float, help="Documents with a larger share of [UNK] are left out.")
@click.option("--shards-per-copy", type=int, help="Shards of each copy. [default: by the size of the corpus]")
@click.option(
    "--objective",
    type=click.Choice(get_args(Objective)),
    default=InstanceConfig.objective,
    help="nsp: next sentence (BERT). sop: sentence order (ALBERT). mlm: no pairs (RoBERTa).",
)
@click.option("--dedup", is_flag=True, help="Drop documents whose content another one has, too.")
@click.option("--compression", type=click.Choice(["none", "gzip"]), default="none", help="Of the shards.")
@click.option("--memory-limit", type=Bytes(), help="Such as 8GB, for all processes. [default: half of the machine's]")
@click.option("--overwrite", is_flag=True, help="Replace the dataset in the output folder.")
@click.option("--dry-run", is_flag=True, help="Say what it would make and take, by a sample, and write nothing.")
@click.option("--prices", type=Place(exists=True, dir_okay=False), help="For --dry-run elsewhere: JSON of prices.")
@click.option("--no-wait", is_flag=True, help="dataflow: return when the job is submitted.")
@reading_options
@engine_options
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
    id_field: str | None,
    split_sentences: str,
    language: str,
    **config: Any,
) -> None:
    """Make BERT pre-training shards from documents.

    INPUT is a file, a folder or a pattern: text, JSONL, Parquet or WikiExtractor's output, plain, .gz, .zst, .bz2 or
    .xz. The same command goes on with a run that was interrupted.
    """
    from deploy.generate import generate_datasets
    from deploy.generation import RunOptions
    from pipeline.plan import Target

    if predictions and len(predictions) != len(lengths):
        raise click.UsageError(f"--max-predictions-per-seq is given {len(predictions)} times; expected one a length")
    if len(set(lengths)) != len(lengths):
        raise click.UsageError(f"--max-seq-length {lengths[0]} is given twice; each length makes a dataset of its own")
    with wrong_usage():
        configs = [
            InstanceConfig(max_predictions_per_seq=1, **config).with_length(length, wanted)
            for length, wanted in zip_longest(lengths, predictions)
        ]
        reading = ReadOptions(input_format, text_field, id_field, split_sentences, language)
    where, files = engine.make_runner(inputs, output, num_workers=num_workers, memory_limit=memory_limit)
    folders = [output] if len(lengths) == 1 else [os.path.join(output, f"seq{length}") for length in lengths]
    if where:
        folders = [folder if is_remote(folder) else os.path.abspath(folder) for folder in folders]
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
    generate_datasets(files, vocab_file, targets, reading, options)


for command in (inspect, validate, report, compare, train, evaluate, fill_mask, embed, export, tpu_commands):
    main.add_command(command)


@main.command()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--vocab-file", type=Place(), help="Vocabulary, one token a line.")
@click.option("--output", type=Place(), help="Folder that the run is to write.")
@click.option("--cased", is_flag=True, help="As generate is to be given it.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
@format_options
@engine_options
def doctor(
    inputs: tuple[str, ...],
    vocab_file: str | None,
    output: str | None,
    cased: bool,
    as_json: bool,
    engine: Engine,
    input_format: InputFormat,
    text_field: str,
) -> None:
    """Check what a run needs before it costs anything: say what is wrong, and what helps.

    Give what generate will be given; without anything the installation alone is checked. Exit code 1 when something
    is wrong.
    """
    from deploy.doctor.examine import examine, show
    from deploy.doctor.request import Request

    with wrong_usage():
        reading = ReadOptions(input_format, text_field)
    files, beam_options = engine.split(inputs)
    findings = list(examine(Request(engine, beam_options, files, vocab_file, output, cased, reading)))
    show(findings, as_json)
    if any(finding.state == "wrong" for finding in findings):
        raise click.exceptions.Exit(1)


@main.command()
@click.option(
    "--output",
    default="demo",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write, on this machine.",
)
def demo(output: Path) -> None:
    """All of it, on the documentation of the Python packages installed here."""
    from deploy.demo import run_demo

    run_demo(output, main)
