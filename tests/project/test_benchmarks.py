"""Every script of benchmarks/ on tiny texts and models: what it prints, not how fast anything is."""

import contextlib
import gzip
import importlib
import io
import json
import os
import random
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from command import run
from places import ROOT
from small_classifier import write_model as write_classifier_model
from small_dataset import write_both_splits
from small_model import write_model
from small_text import WORDS

from maskmill.tokenizer.vocab import Vocab

BENCHMARKS = ROOT / "benchmarks"
NUMBER = r"[\d,.]+"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """Scripts find their modules, and TensorFlow compiles nothing; afterwards all is as it was."""
    environment = dict(os.environ)
    processors = os.sched_getaffinity(0)
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
    os.sched_setaffinity(0, processors)
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def script(monkeypatch):
    """A script as a module whose constants are made small, and whose child processes run in this one."""

    def load(name, **constants):
        module = importlib.import_module(name)
        for constant, value in constants.items():
            monkeypatch.setattr(module, constant, value)
        return module

    return load


@pytest.fixture
def start(monkeypatch, capsys):
    """Runs a script -> what it prints."""

    def start(module, *arguments):
        monkeypatch.setattr(sys, "argv", list(map(str, [f"{module.__name__}.py", *arguments])))
        capsys.readouterr()
        module.main()
        return capsys.readouterr().out

    return start


def run_here(module, monkeypatch):
    """Makes the child processes of a script calls of its main function."""

    def run(command, **options):
        assert Path(command[1]) == Path(module.__file__)
        with monkeypatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
            patch.setattr(sys, "argv", list(map(str, command[1:])))
            module.main()
        if "stdout" not in options:
            print(printed.getvalue(), end="")
        return subprocess.CompletedProcess(command, 0, printed.getvalue())

    monkeypatch.setattr(module, "subprocess", Namespace(run=run, PIPE=subprocess.PIPE))


def rows_of(printed):
    """The first cells of the rows of a Markdown table, but for its headings."""
    return [line.split(" | ")[0].removeprefix("| ") for line in printed.splitlines() if line.startswith("| ")][1:]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, small_vocab) -> Path:
    """The texts of ../shared/corpus, in small."""
    folder, rng = tmp_path_factory.mktemp("corpus"), random.Random(0)
    words = [*WORDS, *(f"{word}s" for word in WORDS)]

    def sentences(number):
        return [" ".join(rng.choices(words, k=rng.randint(5, 15))) + " ." for _ in range(number)]

    def write(name, text):
        (folder / name).write_bytes(gzip.compress(text.encode()))

    (folder / "bert-base-uncased-vocab.txt").write_text(small_vocab.to_text())
    write("books_sentences.txt.gz", "\n\n".join("\n".join(sentences(20)) for _ in range(30)))
    write("zh_poems.jsonl.gz", "\n".join(json.dumps({"text": "床前明月光\n疑是地上霜"}) for _ in range(3)))
    chapters = [
        {"id": f"writer_book-{number % 2}/chapter-{number}",
         "text": "\n\n".join(f"{'un' * (number % 2)} {' '.join(sentences(8))}" for _ in range(4))}
        for number in range(80)
    ]  # fmt: skip
    write("books.jsonl.gz", "\n".join(map(json.dumps, chapters)))
    return folder


def test_bench_generate_measures_the_command_and_its_stages(script, start, corpus):
    files = ["--corpus", corpus / "books_sentences.txt.gz", "--vocab", corpus / "bert-base-uncased-vocab.txt"]
    printed = start(script("bench_generate"), *files, "--times", 2, "--dupe-factor", 1, "--num-workers", 1)
    for row in ("maskmill generate, 1 worker", "a DAG of one element", "readable oracle", "tokenize, pack", "encode"):
        assert row in printed


def test_bench_flink_measures_two_local_workers_and_the_cluster(script, start, corpus, monkeypatch):
    module = script("bench_flink")

    class Cluster:
        job_endpoint, worker_options = "localhost:1", ["--parallelism=2"]
        start_task_manager = start_job_server = lambda self: None

    commands = []
    monkeypatch.setattr(module, "FlinkCluster", lambda servers: Cluster())
    monkeypatch.setattr(module, "run_process", lambda command: commands.append(command) or (1.0, 2.0, 3.0))
    files = ["--corpus", corpus / "books_sentences.txt.gz", "--vocab", corpus / "bert-base-uncased-vocab.txt"]
    printed = start(module, *files, "--times", 1)
    assert "two local workers" in printed
    assert "Flink, two TaskManagers" in printed
    assert [command[-2:] for command in commands] == [["--num-workers", "2"], ["--", "--parallelism=2"]]


def test_bench_tokenizer_compares_three_tokenizers_line_by_line(script, start, corpus):
    module = script("bench_tokenizer", MULTILINGUAL_BYTES=2000)
    assert sum(len(line.encode()) + 1 for line in module.multilingual(corpus)) >= 2000
    del (texts := dict(module.TEXTS))["Multilingual, hardly a word twice"]  # made anew in a process, and large there
    printed = start(script("bench_tokenizer", TEXTS=texts), "--corpus", corpus)
    assert "English: 629 lines" in printed
    assert "`FastTokenizer`, warm" in rows_of(printed)


def test_bench_reader_and_bench_validate_measure_datasets_that_they_generate(script, start, corpus):
    printed = start(script("bench_reader", ROUNDS=1, SOME=10), "--corpus", corpus)
    assert rows_of(printed)[-1] == "tf.data: batch, then `parse_example`"
    printed = start(script("bench_validate", ROUNDS=1), "--corpus", corpus)
    assert rows_of(printed)[-1] == "all of `validate`"


def test_bench_dynamic_masking_measures_each_kind_of_mask(script, start, corpus, monkeypatch):
    module = script("bench_dynamic_masking", COMPILERS={"tensorflow": ("graph",)}, CALLS=1)
    run_here(module, monkeypatch)
    printed = start(module, "--corpus", corpus)
    assert rows_of(printed) == ["32 x 128", "32 x 128", "32 x 512", "32 x 512"]


@pytest.fixture
def bench_train(script):
    return script("bench_train", BATCH_SIZE=2, VOCAB_SIZE=1100, STEPS={"tiny": 1})


def test_bench_train_measures_each_side_and_says_what_is_left_out(bench_train, start, monkeypatch, tmp_path):
    run_here(bench_train, monkeypatch)
    monkeypatch.setattr("needs.TORCH_PYTHON", tmp_path / "python")
    monkeypatch.setattr("maskmill.model.training.flops.measure_peak", lambda dtype: 1e12)
    printed = start(bench_train, "tiny", "--rounds", 1, "--only", "tensorflow, float32", "torch")
    assert f"Left out: PyTorch, as {tmp_path / 'python'} is missing; 'make test-hf' installs it" in printed
    assert rows_of(printed) == ["tensorflow, float32, dropout 0.1"]
    with pytest.raises(SystemExit, match="Nothing is left to measure"):
        start(bench_train, "tiny", "--only", "torch")


def test_each_variant_of_bench_train_computes_the_same_loss(bench_train, monkeypatch):
    expected = bench_train.our_step("tiny", "float32", 0.0, "")()
    for variant in bench_train.VARIANTS:
        with monkeypatch.context() as patch:
            loss = bench_train.our_step("tiny", "float32", 0.0, variant, patch.setattr)()
        assert loss == pytest.approx(expected, rel=1e-5), variant


def test_bench_embed_compares_the_vectors_of_its_sides(script, start, monkeypatch):
    module = script("bench_embed", collect_texts=lambda number: ["A sentence.", "And another one."][:number])
    run_here(module, monkeypatch)
    printed = start(module, "tiny", "--rounds", 1, "--only", "tensorflow")
    assert rows_of(printed) == ["tensorflow, float32, bins", "tensorflow, bfloat16, bins"]
    assert printed.splitlines()[-2].endswith("| 0e+00 |")


FINETUNE = ["--train-rows", 32, "--eval-rows", 16, "--epochs", 1, "--max-seq-length", 16]


@pytest.fixture(scope="module")
def classifier_model(tmp_path_factory) -> Path:
    return write_classifier_model(tmp_path_factory.mktemp("start") / "small")


def test_bench_finetune_compares_its_methods_and_goes_on_with_its_log(
    script, start, corpus, classifier_model, tmp_path, monkeypatch
):
    module, log = script("bench_finetune"), tmp_path / "runs.jsonl"
    options = ["--model-dir", classifier_model, "--corpus", corpus, *FINETUNE, "--seeds", 1, "--log", log]
    printed = start(module, *options)
    assert f"{classifier_model}: 3 steps of pre-training" in printed
    assert rows_of(printed) == ["book"] * 4 + ["pair"] * 4 + ["order"] * 4
    assert "| order | 32, 16 | pre-trained, small | adamw | 0.0003 | " in printed
    lines = log.read_text().splitlines()
    log.write_text("\n".join(lines[:-1]) + "\n")
    started = []
    monkeypatch.setattr(module, "run", lambda *given, real=module.run: started.append(given) or real(*given))
    start(module, *options)
    assert [(side.method, task.name) for side, task, _, _ in started] == [("pre-trained", "order")]
    assert [json.loads(line)["run"] for line in log.read_text().splitlines()] == [
        json.loads(line)["run"] for line in lines
    ]


def test_bench_finetune_compares_optimizers_and_transformers_on_a_hugging_face_folder(
    script, start, corpus, classifier_model, tmp_path, monkeypatch
):
    from maskmill.model.formats.export import export

    export(classifier_model, tmp_path / "bert")
    module = script("bench_finetune")
    monkeypatch.setattr("needs.TORCH_PYTHON", Path(sys.executable))

    def run(command, **options):
        """In the place of finetune_torch.py: the label 0 for all rows after one epoch, 1 after another."""
        assert [Path(one).name for one in command[1:3]] == ["finetune_torch.py", "bert"]
        with np.load(command[3]) as rows:
            assert rows["train_input_ids"].shape == (32, 16)
            assert rows["train_labels"].shape == (32,)
            assert not (rows["eval_input_ids"] * (1 - rows["eval_input_mask"])).any()
        assert json.loads(command[4])["random_seed"] == 1
        return subprocess.CompletedProcess(command, 0, json.dumps([[0] * 16, [1] * 16]))

    monkeypatch.setattr(module, "subprocess", Namespace(run=run, PIPE=subprocess.PIPE))
    compared = ["--method", "pre-trained", "transformers", "--optimizer", "adamw", "google", "--task", "pair"]
    printed = start(module, "--model-dir", tmp_path / "bert", "--corpus", corpus, *FINETUNE, "--seeds", 1, *compared)
    assert f"{tmp_path / 'bert'}: an unknown number of steps of pre-training" in printed
    ours, googles, torchs = printed.splitlines()[-3:]
    assert "| pre-trained, bert | adamw | 0.0003 | " in ours
    assert "| pre-trained, bert | google | 0.0003 | " in googles
    assert "| transformers, bert | torch's AdamW | 0.0003 | " in torchs
    assert "| 1 of 1 | " in torchs
    monkeypatch.setattr("needs.TORCH_PYTHON", tmp_path / "python")
    with pytest.raises(SystemExit, match=rf"{tmp_path / 'python'} is missing; 'make test-hf' installs it"):
        start(module, "--model-dir", tmp_path / "bert", "--corpus", corpus, "--method", "transformers")


def test_no_bag_of_words_tells_which_of_two_sentences_is_in_the_right_order(script, corpus):
    module = script("finetune_tasks")
    task = module.make_task("order", module.read_chapters(corpus), 200, 50)
    assert set(task.train.labels) == {"first", "second"}
    text = gzip.decompress((corpus / "books.jsonl.gz").read_bytes()).decode()
    for a, b, label in zip(task.train.texts, task.train.text_pairs, task.train.labels):
        right, wrong = (a, b) if label == "first" else (b, a)
        assert right in text
        assert wrong not in text
        assert sorted(right.split()) == sorted(wrong.split())
    rng = np.random.default_rng(0)
    swapped = module.swap_neighbours("It was a bright cold day in April, too.", rng)
    assert swapped.startswith("It ")
    assert swapped.endswith(" in April, too.") or swapped.endswith(" April, too.")
    assert module.swap_neighbours("Only a few words.", rng) is None


def test_bench_prune_compares_what_chooses_and_trains_the_last_model_on(script, start, tmp_path):
    write_both_splits(tmp_path / "shards", [[40]], [[12]])
    vocab = Vocab.load(tmp_path / "shards" / "vocab.txt")
    write_model(tmp_path / "model", vocab, max_position_embeddings=16)
    module = script("bench_prune", SHARES=((0.5, 0.5),))
    printed = start(module, tmp_path / "shards", "--model-dir", tmp_path / "model", "--recovery-steps", 2)
    assert rows_of(printed)[0] == "0.5"
    assert rows_of(printed)[-1] == "next_sentence_accuracy"


@pytest.fixture(scope="module")
def shared(tmp_path_factory, corpus) -> Path:
    """Holds `corpus`, and statistics of it by the oracle in the place of those by Google's code."""
    sys.path.insert(0, str(BENCHMARKS))
    module = importlib.import_module("compare_with_google")
    folder = tmp_path_factory.mktemp("shared")
    (folder / "corpus").symlink_to(corpus)
    settings = {"masked_lm_prob": 0.15, "short_seq_prob": 0.1, "dupe_factor": 2}
    names = {"corpus": "books_sentences.txt.gz", "vocab": "bert-base-uncased-vocab.txt"}
    google = {"settings": settings, **names, "seq32": {"schemas": {"{'input_ids': 32, 'masked_lm_ids': 5}": 1}}}
    vocab = Vocab.load(folder / "corpus" / names["vocab"])
    pool = module.tokenize(folder / "corpus" / names["corpus"], vocab)
    configs = [module.config_of(google, "seq32", seed) for seed in range(3)]
    runs = [module.measure(module.make_oracle(pool, vocab, config), vocab, config) for config in configs]
    google["seq32"] |= module.summarise(runs)
    (folder / "golden").mkdir()
    (folder / "golden" / "books_stats.json").write_text(json.dumps(google, default=float))
    return folder


def test_compare_with_google_compares_every_statistic(script, start, shared, capsys):
    with pytest.raises(SystemExit) as end:
        start(script("compare_with_google"), "--shared", shared, "--seeds", 3)
    rows = rows_of(capsys.readouterr().out)
    assert {"instances", "pred_per_seq", "npred_hist, total variation"} <= set(rows)
    assert not end.value.code or "DIFFERENT" in str(end.value.code)
    with pytest.raises(SystemExit):
        start(script("compare_with_google"), "--shared", shared, "--seeds", 3, "--oracle")


def test_bench_compare_compares_pairs_of_seeds(script, start, shared, capsys):
    with pytest.raises(SystemExit):
        start(script("bench_compare", COPIES=2), "--shared", shared, "--seeds", 3, "--setting", "seq32")
    printed = capsys.readouterr().out
    assert "of 3 pairs of seeds are called different" in printed
    assert "Google's and ours: " in printed


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bench_generate", ["--corpus"]),
        ("bench_flink", ["--corpus"]),
        ("bench_tokenizer", ["--corpus"]),
        ("bench_reader", ["--corpus"]),
        ("bench_validate", ["--corpus"]),
        ("bench_dynamic_masking", ["--corpus"]),
        ("bench_finetune", ["--model-dir", "model", "--corpus"]),
        ("bench_compare", ["--shared"]),
        ("compare_with_google", ["--shared"]),
    ],
)
def test_a_corpus_that_is_missing_is_named_in_one_sentence(script, start, monkeypatch, tmp_path, name, options):
    with pytest.raises(SystemExit, match=rf"^Not found: {tmp_path}/none.*; say where with {options[-1]}"):
        start(script(name), *options, tmp_path / "none")


def test_every_script_has_a_test_here():
    tests = Path(__file__).read_text()
    # Those of PyTorch run on it alone: tests/hf has their tests.
    scripts = [
        path.stem for path in BENCHMARKS.glob("*.py") if path.stem not in ("needs", "finetune_torch", "pretrain_torch")
    ]
    assert [name for name in scripts if f'script("{name}"' not in tests] == []


def test_first_weights(script, start, tmp_path):
    write_both_splits(tmp_path / "shards", [[16]], [[8]])
    module, picture = script("bench_first_weights"), tmp_path / "picture.png"
    printed = start(
        module, tmp_path / "shards", "--num-train-steps", 2, "--seeds", "1,2", "--variants", "google,bert,neighbours",
        "--set", "train_batch_size=4", "precision=float32", "--picture", picture,
    )  # fmt: skip
    for name in ("google", "bert", "neighbours"):
        assert re.search(rf"\| {name} \| {NUMBER} ± {NUMBER} \| {NUMBER} ± {NUMBER} \|", printed)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_bench_pretrain_compares_both_sides_and_goes_on_with_its_log(script, start, tmp_path, monkeypatch):
    write_both_splits(tmp_path / "shards", [[40]], [[8]])
    module, log, started = script("bench_pretrain"), tmp_path / "runs.jsonl", []
    monkeypatch.setattr("needs.TORCH_PYTHON", Path(sys.executable))
    monkeypatch.setattr(module, "call_maskmill", run)

    def run_torch(command, **options):
        """In the place of pretrain_torch.py."""
        started.append(json.loads(command[3]))
        with np.load(command[2]) as batches:
            assert batches["train_input_ids"].shape == (2, 32, 16)
            assert batches["eval_input_ids"].shape == (8, 1, 16)
        return subprocess.CompletedProcess(command, 0, json.dumps(dict.fromkeys(module.METRICS, 0.5)))

    monkeypatch.setattr(module.subprocess, "run", run_torch)
    options = [tmp_path / "shards", "--bert-config", "tiny", "--minutes", 0.1, "--seeds", 1, "--log", log]
    options += ["--seconds-per-step", 6, 3, "--side", "maskmill", "transformers 5e-4"]
    printed = start(module, *options)
    assert re.search(rf"\| 0.1 \| maskmill \| 1 \| {NUMBER} ± {NUMBER} \| {NUMBER} ± {NUMBER} \|", printed)
    assert "| 0.1 | transformers 5e-4 | 2 | 0.500 ± 0.000 |" in printed
    assert [one["learning_rate"] for one in started] == [5e-4]
    assert start(module, *options) == printed
    assert len(started) == 1
