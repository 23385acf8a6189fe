"""`--format`: the same instances as records, as columns, and drawn from tokens; and tokens as INPUT."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import SMALL, assert_refused, maskmill, refuse, run

from maskmill.deploy.engines.local import LocalRunner
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.outputs import prepare_output
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.jobs.jobs import GenerateDataset
from maskmill.pipeline.jobs.token_input import TokenInput
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.records.decoding import ExampleDecoder
from maskmill.pipeline.records.tfrecord import read_records
from maskmill.tokenizer.json_file import seal

COMMON = [*SMALL, "--eval-fraction", "0.2", "--shards-per-copy", "2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory, corpus_file, small_vocab_file) -> Path:
    """A folder with the same documents as `tokens`, `records` and `columns`."""
    folder = tmp_path_factory.mktemp("formats")
    for name, format in (("records", "tfrecord"), ("columns", "parquet"), ("tokens", "tokens")):
        arguments = ["--vocab-file", small_vocab_file, "--output", folder / name, "--format", format, *COMMON]
        run("generate", corpus_file, *arguments)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def test_tokens_hold_no_copies(made):
    names = sorted(path.name for path in (made / "tokens").iterdir())
    assert names == [
        "dataset_info.json", "eval-tokens-00000-of-00001.safetensors", "run.json", "tokens-00000-of-00002.safetensors",
        "tokens-00001-of-00002.safetensors", "vocab.txt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        [],  # as the tokens were made
        ["--max-seq-length", 24, "--objective", "sop", "--dupe-factor", 3, "--random-seed", 5, "--shards-per-copy", 3],
        ["--objective", "mlm", "--whole-word-mask", "--eval-fraction", 0, "--dedup", "--min-sentence-tokens", 3],
        ["--format", "parquet", "--masked-lm-prob", 0.3],
        ["--max-seq-length", 16, "--max-seq-length", 32, "--compression", "gzip"],
        ["--format", "tokens", "--random-seed", 9],
    ],
    ids=["as they are", "sop", "mlm", "parquet", "two lengths", "tokens"],
)
def test_tokens_give_the_bytes_of_the_documents(made, tmp_path, corpus_file, small_vocab_file, options):
    given = [*map(str, options)]
    defaults = [value for pair in zip(COMMON[::2], COMMON[1::2]) if pair[0] not in given for value in pair]
    if "--max-seq-length" in given or "--masked-lm-prob" in given:  # which say how many predictions there are
        place = defaults.index("--max-predictions-per-seq")
        del defaults[place : place + 2]
    run("generate", made / "tokens", "--output", tmp_path / "ours", *given)
    arguments = ["--vocab-file", small_vocab_file, "--output", tmp_path / "theirs"]
    run("generate", corpus_file, *arguments, *defaults, *given)
    folders = ["seq16", "seq32"] if given.count("--max-seq-length") == 2 else ["."]
    for name in folders:
        assert files_of(tmp_path / "ours" / name) == files_of(tmp_path / "theirs" / name)


def test_several_datasets_of_tokens_are_one_input(made, tmp_path, corpus_file, small_vocab_file):
    lines = corpus_file.read_text().split("\n\n")
    for name, some in (("a", lines[:15]), ("b", lines[15:])):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(some))
        run("generate", tmp_path / f"{name}.txt", "--vocab-file", small_vocab_file, "--output", tmp_path / name,
            "--format", "tokens", *COMMON)  # fmt: skip
    run("generate", tmp_path / "a", tmp_path / "b", "--output", tmp_path / "both")
    assert files_of(tmp_path / "both") == files_of(made / "records")


def test_an_engine_reads_tokens_too(made, tmp_path):
    """The one job that Flink and Dataflow run, here on Beam's own runner."""
    tokens = TokenInput.open([made / "tokens"])
    config = InstanceConfig(**{**tokens.config.to_values(), "format": "tfrecord"})
    target = prepare_output(Target(config, str(tmp_path / "out"), identity={"a": 1}, run="1"), overwrite=False)
    job = GenerateDataset(
        inputs=[str(made / "tokens")],
        options=ReadOptions(),
        vocab=tokens.vocab,
        targets=[target],
        max_rejected=0.0,
        rejected=str(tmp_path / "rejected"),
        corpus=tokens.corpus,
    )
    LocalRunner(1).run([job])
    assert files_of(tmp_path / "out") == files_of(made / "records")


def test_columns_equal_the_records_value_by_value(made):
    records, columns = (DatasetInfo.load(made / name) for name in ("records", "columns"))
    decoder = ExampleDecoder(records.features)
    for mine, other in zip(columns.shards, records.shards, strict=True):
        table = pq.read_table(made / "columns" / mine.path)
        expected = decoder.decode(list(read_records(made / "records" / other.path)))
        assert set(table.column_names) == set(expected)
        assert not any(field.nullable for field in table.schema)
        for name, values in expected.items():
            column = table[name].combine_chunks()
            found = column.to_numpy() if values.shape[1] == 1 else np.stack(column.to_numpy(zero_copy_only=False))
            np.testing.assert_array_equal(found.reshape(values.shape), values)


@pytest.mark.parametrize("name", ["records", "columns", "tokens"])
def test_commands_understand_each_format(made, name):
    assert f"{name}: valid" in run("validate", made / name).replace(f"{made}/", "")
    shown = run("inspect", made / name, "-n", 2, "--random-seed", 4)
    assert shown.count("[CLS]") == 2
    assert "Traceback" not in run("report", made / name, "--output", made / f"{name}.html")
    compared = run("compare", made / name, made / "records")
    assert "the same" in compared


def test_the_same_examples_are_shown(made):
    examples = []
    for name in ("records", "columns", "tokens"):
        shown = json.loads(run("inspect", made / name, "-n", 7, "--json"))["examples"]
        examples.append([{**one, "shard": None} for one in shown])
    assert examples[0] == examples[1] == examples[2]


def test_a_dry_run_tells_what_tokens_come_to(made):
    shown = json.loads(maskmill("generate", made / "tokens", "--output", made / "none", "--dry-run", "--json").stdout)
    info = DatasetInfo.load(made / "records")
    (estimate,) = shown["estimates"]
    assert shown["documents"] == info.counts["documents"]["read"]
    assert estimate["train_instances"] == pytest.approx(info.examples_of("train"), rel=0.2)
    assert estimate["shards"] == len(info.shards)
    assert not (made / "none").exists()


def test_a_shorter_length_than_the_tokens_were_made_with_is_drawn(made, tmp_path):
    said = run("train", made / "tokens", "--model-dir", tmp_path / "model", "--bert-config", "tiny",
               "--max-seq-length", 16, "--num-train-steps", 2, "--train-batch-size", 4)  # fmt: skip
    assert "examples of 16 tokens in each copy; 2 copies are a pass" in said
    assert "eval" in run("evaluate", made / "tokens", "--model-dir", tmp_path / "model", "--objective", "mlm")


# What is refused.


@pytest.fixture
def copy(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "tokens", tmp_path / "copy"))


def test_a_damaged_pool_is_refused(copy, tmp_path):
    pool = next(copy.glob("tokens-*"))
    pool.write_bytes(pool.read_bytes()[:-1] + b"!")
    sentence = f"{pool} is not the file that the manifest names (its SHA-256 differs); restore it, or generate"
    assert sentence in refuse("generate", copy, "--output", tmp_path / "out")
    assert "sha256" in refuse("train", copy, "--model-dir", tmp_path / "model", "--bert-config", "tiny")
    result = maskmill("validate", copy)
    assert result.returncode == 1
    assert "its SHA-256 differs" in result.stdout


def test_ids_beyond_the_vocabulary_are_refused(copy, tmp_path):
    from maskmill.pipeline.instances.pool_file import read_pool, write_pool

    info = DatasetInfo.load(copy)
    shard = info.shards[0]
    pool = read_pool(copy / shard.path, shard.sha256)
    pool.ids[3] = 60_000
    written = write_pool(copy / shard.path, pool, shard.examples)
    values = info.to_values()
    first, *others = values["shards"]
    values["shards"] = [{**first, "bytes": written.bytes, "sha256": written.sha256}, *others]
    (copy / "dataset_info.json").write_text(seal(values))
    assert "has the id 60,000, and the vocabulary has" in refuse("generate", copy, "--output", tmp_path / "out")
    assert "has the id 60,000" in maskmill("validate", copy).stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--language", "de"], "--language is given, and INPUT {tokens} is tokenised already; leave it out"),
        (["--cased"], "--cased is given, and INPUT {tokens} is tokenised already"),
        (["--format", "tokens", "--compression", "gzip"], "compression is gzip; expected none"),
        (["--format", "tokens", "--max-seq-length", 16, "--max-seq-length", 32], "--format tokens is given with 2 len"),
        (["{records}"], "is a dataset of format tfrecord, which is not read again; expected documents, or a dataset"),
        ([__file__], "{tokens} is a dataset, and INPUT {file} is none; expected documents, or datasets of tokens"),
    ],
)
def test_what_does_not_go_with_tokens_is_refused(made, tmp_path, arguments, sentence):
    names = {"tokens": made / "tokens", "records": made / "records", "file": __file__}
    arguments = [str(one).format(**names) for one in arguments]
    result = maskmill("generate", made / "tokens", *arguments, "--output", tmp_path / "out")
    assert_refused(result, sentence.format(**names), exit_code=result.returncode)
    assert result.returncode in (1, 2)
    assert not (tmp_path / "out").exists()


def test_another_vocabulary_than_that_of_the_tokens_is_refused(made, tmp_path):
    vocab = tmp_path / "other.txt"
    vocab.write_text((made / "tokens" / "vocab.txt").read_text() + "more\n")
    said = refuse("generate", made / "tokens", "--vocab-file", vocab, "--output", tmp_path / "out")
    assert f"{vocab} is not the vocabulary of {made / 'tokens'}, whose documents are tokenised already" in said


def test_records_have_one_length(made, tmp_path):
    arguments = ["--model-dir", tmp_path / "model", "--bert-config", "tiny", "--max-seq-length", 16]
    sentence = "records holds instances, whose max_seq_length cannot be changed; leave the option out, or generate"
    assert sentence in refuse("train", made / "records", *arguments)


def test_documents_need_a_vocabulary(corpus_file, tmp_path):
    said = refuse("generate", corpus_file, "--output", tmp_path / "out", exit_code=2)
    assert "--vocab-file is missing; expected a vocabulary" in said
