"""`maskmill inspect` shows datasets, ours and others', on a terminal, in a pipe, and to programs."""

import json
import os
import re
import subprocess
import sys

import pytest
from command import SMALL, assert_refused, maskmill, refuse, run
from look import MODEL_GARDEN, random_examples, write_shard

from maskmill.pipeline.analysis.opened_datasets import open_dataset
from maskmill.pipeline.analysis.readable_examples import make_readable
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.records.examples import decode_example
from maskmill.pipeline.records.tfrecord import read_records


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, corpus_file, small_vocab_file):
    folder = tmp_path_factory.mktemp("inspection")
    documents = [json.dumps({"text": text}) for text in corpus_file.read_text().split("\n\n")]
    (folder / "corpus.jsonl").write_text("\n".join([*documents, "{broken"]))
    run("generate", folder / "corpus.jsonl", "--vocab-file", small_vocab_file, "--output", folder / "shards", *SMALL,
        "--max-rejected", 0.1, "--eval-fraction", 0.2, "--min-document-tokens", 9)  # fmt: skip
    return folder / "shards"


def in_words(opened, record):
    """What should be printed of an example, word by word, from the readable decoder."""
    example, vocab = decode_example(record), opened.vocab.tokens
    words = [vocab[id] for id in example["input_ids"][: sum(example["input_mask"])]]
    for place, id, weight in zip(
        example["masked_lm_positions"], example["masked_lm_ids"], example["masked_lm_weights"]
    ):
        if weight:
            shown = {"[MASK]": "MASK", vocab[id]: "keep"}.get(words[place], words[place])
            words[place] = f"[{shown}→{vocab[id]}]"
    return " ".join(words)


def test_every_example_is_shown_word_by_word(dataset):
    opened, printed = open_dataset(dataset), run("inspect", dataset, "-n", 10_000)
    train, held_out = (
        [record for shard in opened.shards_of(split) for record in read_records(shard.path)]
        for split in ("train", "eval")
    )
    lines = printed.splitlines()
    for record in train:
        assert in_words(opened, record) in lines
    assert sum(line.endswith("[SEP]") for line in lines) == len(train)
    (shard,) = opened.shards_of("eval")
    printed = run("inspect", dataset, "-n", 1, "--shard", shard.name)
    assert in_words(opened, held_out[0]) in printed
    assert "configuration" not in printed


def test_the_label_is_told_in_words(dataset):
    opened = open_dataset(dataset)
    arrays = next(opened.read_batches(opened.shards[0]))
    labels = arrays["next_sentence_labels"][:, 0].tolist()
    assert set(labels) == {0, 1}
    printed = run("inspect", dataset, "-n", len(labels))
    told = re.findall(r"^(B is .*), (\d+) tokens, (\d+) to predict$", printed, re.MULTILINE)
    for row, label in enumerate(labels):
        readable = make_readable(opened, arrays, row)
        assert readable.label_in_words == ("B is a random next" if label else "B is the actual next")
        assert told[row] == (readable.label_in_words, str(len(readable.tokens)), str(readable.predictions))


def test_the_manifest_is_shown_whole(dataset):
    printed, info = run("inspect", dataset, "-n", 0), DatasetInfo.load(dataset)
    for name, value in info.config.items():
        assert re.search(rf"│ {name} +│ {'not given' if value is None else re.escape(str(value))} ", printed)
    for shard in info.shards:
        assert re.search(rf"│ {shard.path} +│ {shard.split} .* {shard.examples:,} │ +{shard.bytes:,} │", printed)
    for longest, count in info.counts["train_lengths"].items():
        assert re.search(rf"\d+-{longest} │ +{count:,} │", printed)
    assert re.search(r"1 │ rejected +│ malformed JSON", printed)
    (left_out,) = info.counts["filtered"].items()
    assert re.search(rf"{left_out[1]} │ filtered │ {left_out[0]}", printed)
    assert re.search(rf"instances +│ +{info.examples_of('train'):,} │ +{info.examples_of('eval'):,} │", printed)


def test_a_sample_is_another_for_another_seed(dataset):
    first, again, other = (run("inspect", dataset, "-n", 4, "--random-seed", seed) for seed in (1, 1, 2))
    assert first == again != other
    records = re.findall(r"^instances-\S+, record ([\d,]+)$", first, re.MULTILINE)
    assert len(records) == 4


def test_grep_shows_the_examples_that_hold_a_word(dataset):
    printed = run("inspect", dataset, "-n", 10_000, "--grep", "RAINED")
    lines = [line for line in printed.splitlines() if line.startswith("[CLS]")]
    assert lines
    assert all(re.search(r"(^| |→)rained(\]| |$)", line) for line in lines)
    assert "No example holds 'tea mat'." in run("inspect", dataset, "--grep", "tea mat")
    assert "becomes [UNK]" in refuse("inspect", dataset, "--grep", "zebra")


def test_tfrecords_of_others_show_what_can_be_known(tmp_path, small_vocab_file):
    write_shard(tmp_path / "tf_examples.tfrecord", random_examples(1, 30, vocab_size=29), MODEL_GARDEN)
    printed = run("inspect", tmp_path, "-n", 1)
    for part in ("No dataset_info.json", "TF Model Garden's (input_word_ids, input_type_ids)", "not known; give",
                 "id 4, as it seems", "max_seq_length          │ 24", "instances               │           30",
                 "#2 ", "[MASK→#", "give --vocab-file to see words"):  # fmt: skip
        assert part in printed
    printed = run("inspect", tmp_path / "tf_examples.tfrecord", "-n", 1, "--vocab-file", small_vocab_file)
    assert "[CLS] " in printed
    assert "#2 " not in printed
    assert "needs the vocabulary" in refuse("inspect", tmp_path, "--grep", "cat")


def test_json_tells_programs_all_of_it(dataset):
    values = json.loads(run("inspect", dataset, "-n", 2, "--json"))
    info = DatasetInfo.load(dataset)
    assert DatasetInfo(**values["manifest"]).counts == info.counts
    assert [shard["name"] for shard in values["shards"]] == [shard.path for shard in info.shards]
    opened = open_dataset(dataset)
    for number, example in enumerate(values["examples"], 1):
        assert (example["shard"], example["record"]) == (info.shards[0].path, number)
        words = [
            token["token"] if token["original"] is None
            else f"[{ {'mask': 'MASK', 'same': 'keep'}.get(token['kind'], token['token']) }→{token['original']}]"
            for token in example["tokens"]
        ]  # fmt: skip
        record = list(read_records(opened.shards[0].path))[number - 1]
        assert " ".join(words) == in_words(opened, record)
        assert [token["segment"] for token in example["tokens"]] == decode_example(record)["segment_ids"][: len(words)]


COMMAND = [sys.executable, "-c", "from maskmill.deploy.cli import main; main(prog_name='maskmill')", "inspect"]


def test_in_a_pipe_there_are_no_colours_and_nothing_is_cut_off(dataset):
    printed = subprocess.run(
        [*COMMAND, dataset, "-n", "3"], capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "30"}
    ).stdout
    assert "\x1b" not in printed
    assert "…" not in printed
    for shard in DatasetInfo.load(dataset).shards:
        assert re.search(rf"│ {shard.path} +│", printed)


def test_on_a_terminal_segments_and_masks_have_colours_unless_the_user_wants_none(dataset):
    def on_terminal(**environment):
        return subprocess.run(
            [*COMMAND, dataset, "-n", "1"], capture_output=True, text=True, check=True,
            env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color", **environment},
        ).stdout  # fmt: skip

    coloured = on_terminal()
    for colour in ("\x1b[36m[CLS]", "\x1b[32m[SEP]", "\x1b[1;35m["):
        assert colour in coloured
    assert not re.search(r"\x1b\[[\d;]*3[0-9]m", on_terminal(NO_COLOR="1"))


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_pipe_that_is_closed_is_no_error(dataset, options):
    process = subprocess.Popen(
        [*COMMAND, dataset, "-n", "100000", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait()


def test_a_terminal_without_the_characters_shows_question_marks(dataset):
    result = subprocess.run(
        [*COMMAND, dataset], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=True
    )
    assert b"[MASK?" in result.stdout


def test_what_cannot_be_shown_is_refused_in_one_sentence(dataset, tmp_path):
    assert_refused(maskmill("inspect", tmp_path), "is no dataset", "make one with 'maskmill generate'")
    assert "--shard x is not in" in refuse("inspect", dataset, "--shard", "x")
