"""The commands as a user meets them: what they print, and one clear sentence when something is wrong."""

import json
from pathlib import Path

import pytest
from command import SMALL, assert_refused, maskmill

from maskmill.deploy.cli import find_sentence
from maskmill.deploy.terminal import options
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, corpus_file, small_vocab_file) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "shards"
    result = maskmill("generate", corpus_file, "--vocab-file", small_vocab_file, "--output", folder, *SMALL)
    assert result.returncode == 0, result.stderr
    assert "40 documents" in result.stdout
    assert f"Wrote {folder}: 2 shards" in result.stdout
    return folder


def test_help_names_every_command_in_the_order_of_use():
    output = maskmill("--help").stdout
    places = [
        output.index(f"\n  {name} ") for name in ("vocab", "generate", "inspect", "train", "evaluate", "doctor", "demo")
    ]
    assert places == sorted(places)


def test_vocab_writes_a_vocabulary_that_loads(tmp_path, corpus_file):
    result = maskmill("vocab", corpus_file, "--output", tmp_path / "v.txt", "--vocab-size", 80)
    assert result.returncode == 0, result.stderr
    vocab = Vocab.load(tmp_path / "v.txt")
    assert vocab.tokens[:5] == list(SPECIAL_TOKENS)
    assert f"{len(vocab)} tokens" in result.stdout


def test_vocab_says_when_the_text_cannot_fill_the_size(tmp_path, corpus_file):
    result = maskmill("vocab", corpus_file, "--output", tmp_path / "v.txt", "--vocab-size", 5000)
    assert result.returncode == 0
    assert "5,000 tokens were asked for" in result.stderr


def test_inspect_shows_counts_and_decoded_examples(dataset):
    output = maskmill("inspect", dataset, "-n", 2).stdout
    info = DatasetInfo.load(dataset)
    assert f"{info.examples_of('train'):,}" in output
    assert "instances-00000-of-00002.tfrecord" in output
    assert output.count("[CLS]") == 2
    assert "→" in output


def test_run_json_holds_what_concerns_the_run_only(dataset, corpus_file):
    run = (dataset / "run.json").read_text()
    assert str(corpus_file) in run
    assert str(corpus_file) not in (dataset / "dataset_info.json").read_text()


@pytest.mark.parametrize("command", ["vocab", "generate"])
def test_a_missing_input_is_named(tmp_path, small_vocab_file, command):
    vocab_file = ["--vocab-file", small_vocab_file] if command == "generate" else []
    result = maskmill(command, tmp_path / "nowhere.txt", *vocab_file, "--output", tmp_path / "out")
    assert_refused(result, "nowhere.txt names no file", "give a file, a folder, or a pattern")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "holds no documents; expected text, or a table"),
        ("only one document\nof two lines\n", "is one document; expected two or more"),
        ('{"body": "x"}\n{"body": "y"}\n', "(no field 'text' (2))"),
    ],
)
def test_an_input_without_two_documents_is_refused(tmp_path, small_vocab_file, content, sentence):
    (tmp_path / "input").write_text(content)
    result = maskmill("generate", tmp_path / "input", "--vocab-file", small_vocab_file, "--output", tmp_path / "out")
    assert_refused(result, sentence)
    assert not list((tmp_path / "out").glob("*[!l]"))  # rejected documents are listed, nothing else


def test_a_vocabulary_without_mask_is_refused(tmp_path, corpus_file):
    (tmp_path / "v.txt").write_text("\n".join(token for token in SPECIAL_TOKENS if token != "[MASK]"))
    result = maskmill("generate", corpus_file, "--vocab-file", tmp_path / "v.txt", "--output", tmp_path / "out")
    assert_refused(result, "v.txt has no [MASK]; train a vocabulary with 'maskmill vocab'")
    assert not (tmp_path / "out").exists()


def test_more_predictions_than_tokens_are_wrong_usage(tmp_path, corpus_file, small_vocab_file):
    output = ["--output", tmp_path / "out", "--max-seq-length", 16, "--max-predictions-per-seq", 20]
    result = maskmill("generate", corpus_file, "--vocab-file", small_vocab_file, *output)
    assert_refused(result, "max_predictions_per_seq is 20; expected 1 to 13", exit_code=2)


def test_an_output_that_holds_a_dataset_is_kept(dataset, corpus_file, small_vocab_file):
    before = {path.name: path.read_bytes() for path in dataset.iterdir()}
    result = maskmill("generate", corpus_file, "--vocab-file", small_vocab_file, "--output", dataset)
    assert_refused(result, "holds a dataset; give another folder, or --overwrite to replace it")
    assert {path.name: path.read_bytes() for path in dataset.iterdir()} == before


def test_overwrite_replaces_the_dataset_and_nothing_else(tmp_path, corpus_file, small_vocab_file):
    output = tmp_path / "out"
    arguments = ["generate", corpus_file, "--vocab-file", small_vocab_file, "--output", output, *SMALL]
    assert maskmill(*arguments, "--shards-per-copy", 3).returncode == 0
    (output / "notes.txt").write_text("mine")
    assert maskmill(*arguments, "--overwrite").returncode == 0
    Dataset.open(output).check_files()
    assert len(list(output.glob("*.tfrecord"))) == 2
    assert (output / "notes.txt").read_text() == "mine"


def test_shards_without_a_manifest_are_kept_too(tmp_path, corpus_file, small_vocab_file):
    (tmp_path / "instances-00000-of-00001.tfrecord").write_text("")
    result = maskmill("generate", corpus_file, "--vocab-file", small_vocab_file, "--output", tmp_path)
    assert_refused(result, "holds shards but no dataset_info.json")


def test_an_existing_vocabulary_is_kept(tmp_path, corpus_file):
    (tmp_path / "v.txt").write_text("mine")
    result = maskmill("vocab", corpus_file, "--output", tmp_path / "v.txt")
    assert_refused(result, "v.txt exists; give another name, or --overwrite")
    assert (tmp_path / "v.txt").read_text() == "mine"


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_is_one_sentence(tmp_path, corpus_file, small_vocab_file, workers):
    (tmp_path / "cut.txt.gz").write_bytes(b"\x1f\x8b\x08\x00\x00\x00")
    arguments = ["--vocab-file", small_vocab_file, "--output", tmp_path / "out", "--num-workers", workers]
    result = maskmill("generate", corpus_file, tmp_path / "cut.txt.gz", *arguments)
    assert_refused(result, "cut.txt.gz is cut off or damaged near byte 6 of 6")
    assert len(result.stderr.strip().splitlines()) == 1


def test_rejected_documents_are_counted_and_listed(tmp_path, small_vocab_file):
    (tmp_path / "a.jsonl").write_text('{"text": "the cat sat."}\n{broken\n{"text": "a dog\\u0000 ran."}\n')
    arguments = ["generate", tmp_path / "a.jsonl", "--vocab-file", small_vocab_file, "--output", tmp_path / "out"]
    result = maskmill(*arguments, "--max-rejected", 0.4)
    assert result.returncode == 0, result.stderr
    assert "malformed JSON (1)" in result.stderr
    assert "Repaired documents: NUL characters removed (1)" in result.stderr
    assert "rejected │ malformed JSON" in maskmill("inspect", tmp_path / "out").stdout
    counts = DatasetInfo.load(tmp_path / "out").counts
    assert counts["set_aside"] == {"malformed JSON": 1}
    assert counts["repaired"] == {"NUL characters removed": 1}
    (listed,) = (tmp_path / "out").glob("rejected-*.jsonl")
    assert [json.loads(line) for line in listed.read_text().splitlines()] == [
        {"file": str(tmp_path / "a.jsonl"), "place": 2, "reason": "malformed JSON", "excerpt": "{broken"}
    ]


def test_too_many_unusable_documents_fail_the_run(tmp_path, small_vocab_file):
    lines = ['{"text": "the cat sat."}', '{"text": null}', *['{"text": "a dog ran."}'] * 30]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    arguments = ["generate", tmp_path / "a.jsonl", "--vocab-file", small_vocab_file, "--output", tmp_path / "out"]
    result = maskmill(*arguments)
    assert_refused(result, "1 of 32 documents", "3.1%: field 'text' is null (1); expected at most --max-rejected 0.01")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["rejected-00000.jsonl"]
    assert maskmill(*arguments, "--max-rejected", 0.05).returncode == 0


@pytest.mark.parametrize("num_workers", [1, 2])
def test_of_the_documents_with_one_id_one_is_kept(tmp_path, small_vocab_file, num_workers):
    documents = [("a", "the cat sat."), ("b", "a dog ran."), ("a", "it rained all day."), ("c", "they went home.")]
    for name, order in (("one", documents), ("two", documents[::-1])):
        (tmp_path / name).mkdir()
        for number, (id, text) in enumerate(order):
            (tmp_path / name / f"{number}.jsonl").write_text(json.dumps({"meta": {"id": id}, "text": text}))
        arguments = ["--vocab-file", small_vocab_file, "--id-field", "meta.id", "--max-rejected", 1, *SMALL]
        workers = ["--num-workers", num_workers]
        result = maskmill("generate", tmp_path / name, *arguments, *workers, "--output", tmp_path / f"{name}_out")
        assert result.returncode == 0, result.stderr
    info = DatasetInfo.load(tmp_path / "one_out")
    assert info.counts["train"]["documents"] == 3
    assert info.counts["set_aside"] == {"another document has its id": 1}
    assert (tmp_path / "one_out" / "dataset_info.json").read_bytes() == (
        tmp_path / "two_out" / "dataset_info.json"
    ).read_bytes()
    (listed,) = (tmp_path / "one_out").glob("rejected-*.jsonl")
    assert json.loads(listed.read_text())["excerpt"] in ("the cat sat.", "it rained all day.")


@pytest.mark.parametrize("documents", [40, 2])  # too many for a shard; few enough, but not for the manifest
def test_a_full_disk_is_one_sentence_and_leaves_no_manifest(tmp_path, corpus_file, small_vocab_file, documents):
    (tmp_path / "corpus.txt").write_text("\n\n".join(corpus_file.read_text().split("\n\n")[:documents]))
    arguments = ["--vocab-file", small_vocab_file, "--output", tmp_path / "out"]
    result = maskmill("generate", tmp_path / "corpus.txt", *arguments, *SMALL, largest_file=1_000)
    assert_refused(result, "cannot be written (File too large); make room")
    assert not list((tmp_path / "out").glob("*.json"))
    assert not list((tmp_path / "out").glob(".instances*"))


@pytest.mark.parametrize("place", ["output", "vocab_file"])
def test_what_would_be_read_as_text_the_next_time_is_refused(tmp_path, corpus_file, small_vocab_file, place):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text(corpus_file.read_text())
    (tmp_path / "in" / "v.txt").write_text(small_vocab_file.read_text())
    vocab_file = tmp_path / "in" / "v.txt" if place == "vocab_file" else small_vocab_file
    output = tmp_path / "in" / "out" if place == "output" else tmp_path / "out"
    result = maskmill("generate", tmp_path / "in", "--vocab-file", vocab_file, "--output", output)
    assert_refused(result, "lies in INPUT", "put it outside of that folder")
    assert not output.exists()


def test_an_input_is_never_overwritten_nor_taken_for_the_vocabulary(tmp_path, corpus_file, small_vocab_file):
    text = corpus_file.read_text()
    (tmp_path / "a.txt").write_text(text)
    result = maskmill("vocab", f"{tmp_path}/*.txt", "--output", tmp_path / "a.txt", "--overwrite")
    assert_refused(result, "a.txt is itself among the INPUT")
    assert (tmp_path / "a.txt").read_text() == text
    (tmp_path / "v.txt").write_text(small_vocab_file.read_text())
    arguments = ["--vocab-file", tmp_path / "v.txt", "--output", tmp_path / "out"]
    assert_refused(maskmill("generate", f"{tmp_path}/*.txt", *arguments), "v.txt is itself among the INPUT")


def test_a_url_is_wrong_usage_for_an_output(tmp_path, corpus_file):
    result = maskmill("vocab", corpus_file, "--output", "s3://bucket/vocab.txt")
    assert_refused(result, "s3://bucket/vocab.txt is neither on this machine nor in Cloud Storage", exit_code=2)
    assert_refused(maskmill("vocab", corpus_file, "--output", "gs://"), "gs:// names no bucket", exit_code=2)


def test_paragraphs_taken_for_sentences_are_pointed_out(tmp_path, small_vocab_file):
    (tmp_path / "a.txt").write_text(
        "\n\n".join("the cat sat on a mat . " * 40 + word for word in ("tea", "dog", "park"))
    )
    output = ["--vocab-file", small_vocab_file, "--output", tmp_path / "out"]
    result = maskmill("generate", tmp_path / "a.txt", *output, *SMALL)
    assert "give --split-sentences en" in result.stderr
    counts = DatasetInfo.load(tmp_path / "out").counts["train"]
    assert counts["truncated_tokens"] > counts["instance_tokens"]


def test_vocab_says_what_it_rejected(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one two"}\n{broken\n')
    arguments = ["vocab", tmp_path / "a.jsonl", "--output", tmp_path / "v.txt", "--vocab-size", 100]
    assert_refused(
        maskmill(*arguments), "1 of 2 documents", "50.0%: malformed JSON (1); expected at most --max-rejected"
    )
    result = maskmill(*arguments, "--max-rejected", 0.5)
    assert "malformed JSON (1)" in result.stderr
    result = maskmill("vocab", tmp_path / "a.jsonl", "--text-field", "body", "--output", tmp_path / "w.txt")
    assert_refused(result, "no field 'body' (1)")


@pytest.mark.parametrize(
    ("module", "extras"),
    [
        ("keras", "'.[train]', or '.[jax]' to run on JAX"),
        ("tensorflow.data", "'.[train]'"),
        ("jax.numpy", "'.[jax]'"),
    ],
)
def test_a_missing_extra_is_named_with_the_way_to_install_it(module, extras):
    sentence = find_sentence(ModuleNotFoundError(f"No module named {module!r}", name=module))
    assert sentence == (
        f"this command needs {module.split('.')[0]}, not installed here; in maskmill's folder run: pip install {extras}"
    )


@pytest.mark.parametrize(
    ("installed", "backend"),
    [({"tensorflow", "jax"}, "tensorflow"), ({"tensorflow"}, "tensorflow"), ({"jax"}, "jax"), (set(), "tensorflow")],
)
def test_keras_runs_on_jax_where_only_that_is_installed_and_it_is_said(monkeypatch, capsys, installed, backend):
    monkeypatch.setattr(options, "find_spec", lambda name: name if name in installed else None)
    assert options.default_backend() == backend
    assert ("runs on JAX" in capsys.readouterr().err) == (backend == "jax")


def test_a_want_of_memory_anywhere_is_one_sentence():
    for error in (MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.")):
        assert find_sentence(error).startswith("there is not enough memory for it here; give a smaller model or batch")


def test_an_error_that_is_a_bug_of_ours_shows_its_traceback():
    assert find_sentence(ModuleNotFoundError("No module named 'pipelin'", name="pipelin")) is None
    assert find_sentence(ValueError("operands could not be broadcast")) is None


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    assert_refused(maskmill("inspect", tmp_path), "is no dataset", "make one with 'maskmill generate'")
