"""The whole DAG on a real runner: what it writes, and that nothing but documents and options changes a byte."""

import gzip
import json
import os
from collections import Counter
from dataclasses import replace

import pytest

from maskmill.deploy.engines.jobs import run_for_results
from maskmill.deploy.engines.local import LocalRunner
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import Unfinished
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.jobs.jobs import BuildPools, CountWords, SpillCorpus
from maskmill.pipeline.jobs.manifest import write_manifest
from maskmill.pipeline.jobs.results import read_result
from maskmill.pipeline.reading.documents import ReadOptions
from maskmill.pipeline.reading.files import list_parts
from maskmill.pipeline.records.examples import decode_example
from maskmill.pipeline.records.tfrecord import read_records
from maskmill.tokenizer.counts import WordCounts
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import Vocab

CONFIG = InstanceConfig(max_seq_length=32, max_predictions_per_seq=5, dupe_factor=3, eval_fraction=0.2)
POOLS = Pools(train=2, eval=1)


def generate(
    inputs,
    output,
    vocab,
    config=CONFIG,
    pools=POOLS,
    reading=None,
    num_workers=1,
    tasks=1,
    part_bytes=10**6,
    documents=40,
):
    """The files of a dataset by name, whose documents are tokenised by so many tasks; its pools are built backwards."""
    target, folder = Target(config, str(output)), output.parent / f"{output.name}-spill"
    Unfinished(target.output).start({})
    folder.mkdir()
    parts = list(list_parts(map(str, inputs), part_bytes))
    names = [f"task{number}" for number in range(tasks)]
    spilling = [
        SpillCorpus(
            parts=parts[number::tasks],
            options=reading or ReadOptions(),
            vocab=vocab,
            config=config,
            folder=str(folder),
            name=name,
            buffer_bytes=3_000,
        )
        for number, name in enumerate(names)
    ]
    LocalRunner(num_workers).run(spilling)
    counts = sum((read_result(job.result)[1] for job in spilling), Counter())
    assert counts["documents"] == documents
    build = BuildPools(folder=str(folder), tasks=names, wanted=(), pools=pools, vocab=vocab, targets=[target])
    wanted = range(len(pools))[::-1]
    LocalRunner(num_workers).run([replace(build, wanted=wanted[worker::num_workers]) for worker in range(num_workers)])
    write_manifest(target, vocab, pools, {"documents/read": documents, "documents": documents})
    Unfinished(target.output).remove()
    return {path.name: path.read_bytes() for path in output.iterdir()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, corpus_file, small_vocab):
    """The files of a dataset made from the small corpus, and their folder."""
    folder = tmp_path_factory.mktemp("dataset") / "out"
    return generate([corpus_file], folder, small_vocab), folder


def test_a_dataset_is_shards_vocabulary_and_manifest(dataset, small_vocab):
    files, folder = dataset
    shards = [f"instances-{i:05d}-of-00006.tfrecord" for i in range(6)] + ["eval-00000-of-00001.tfrecord"]
    assert sorted(files) == sorted([*shards, "vocab.txt", "dataset_info.json"])
    info = DatasetInfo.load(folder)
    Dataset.open(folder).check_files()
    assert [shard.path for shard in info.shards] == shards
    assert [(shard.copy, shard.pool) for shard in info.shards_of("train")] == [(c, p) for c in range(3) for p in (0, 1)]
    assert info.vocab_size == len(small_vocab)
    assert info.vocab_sha256 == Vocab.load(folder / "vocab.txt").sha256 == small_vocab.sha256


def test_counts_of_the_manifest_are_those_of_the_records(dataset, corpus_lines):
    _, folder = dataset
    info = DatasetInfo.load(folder)
    train, held_out = info.counts["train"], info.counts["eval"]
    assert info.counts["documents"] == {"read": 40, "empty": 0}
    assert train["documents"] + held_out["documents"] == 40
    assert train["sentences"] + held_out["sentences"] == sum(map(len, corpus_lines))
    for split in ("train", "eval"):
        examples = [
            decode_example(record) for shard in info.shards_of(split) for record in read_records(folder / shard.path)
        ]
        counts = info.counts[split]
        assert counts["instances"] == len(examples) == info.examples_of(split)
        assert counts["random_next"] == sum(example["next_sentence_labels"][0] for example in examples)
        assert counts["instance_tokens"] == sum(sum(example["input_mask"]) for example in examples)
        assert counts["masked_tokens"] == sum(sum(example["masked_lm_weights"]) for example in examples)
        kinds = [counts[f"masked_as_{kind}"] for kind in ("mask", "same", "random")]
        assert sum(kinds) == counts["masked_tokens"]
        assert sum(info.counts[f"{split}_lengths"].values()) == len(examples)


def test_lines_and_documents_without_tokens_are_dropped_and_such_documents_counted(
    tmp_path, corpus_file, corpus_lines, small_vocab
):
    dirty = "\u200b\n\u200b\u200b\n\n" + corpus_file.read_text().replace("\n\n", "\n\u200b\n\n")  # no blanks, no tokens
    (tmp_path / "a.txt").write_text(dirty)
    generate([tmp_path / "a.txt"], tmp_path / "out", small_vocab, documents=41)
    counts = DatasetInfo.load(tmp_path / "out").counts
    assert counts["documents"]["empty"] == 1
    assert counts["train"]["documents"] + counts["eval"]["documents"] == len(corpus_lines)
    assert counts["train"]["sentences"] + counts["eval"]["sentences"] == sum(map(len, corpus_lines))


def test_no_token_of_a_held_out_document_is_in_training(tmp_path, small_vocab):
    words = [token for token in small_vocab.tokens if token.isalpha()]
    (tmp_path / "a.txt").write_text("\n\n".join(f"{word} {word}\n" * 5 for word in words))
    generate([tmp_path / "a.txt"], tmp_path / "out", small_vocab, documents=len(words))

    info = DatasetInfo.load(tmp_path / "out")
    found: dict[str, set[int]] = {"train": set(), "eval": set()}
    for shard in info.shards:
        for record in read_records(tmp_path / "out" / shard.path):
            found[shard.split].update(decode_example(record)["masked_lm_ids"])
    train, held_out = found["train"] - {0}, found["eval"] - {0}
    assert len(train) + len(held_out) == len(words)
    assert not train & held_out
    assert 2 <= len(held_out) <= 10


def test_the_same_command_twice_gives_the_same_bytes(dataset, tmp_path, corpus_file, small_vocab):
    assert generate([corpus_file], tmp_path / "again", small_vocab) == dataset[0]


@pytest.mark.parametrize(("num_workers", "tasks"), [(2, 3), (1, 2)])
def test_workers_and_tasks_change_nothing(dataset, tmp_path, corpus_file, small_vocab, num_workers, tasks):
    files = generate([corpus_file], tmp_path / "out", small_vocab, num_workers=num_workers, tasks=tasks, part_bytes=900)
    assert files == dataset[0]


def test_files_order_and_format_change_nothing(dataset, tmp_path, corpus_lines, small_vocab):
    (tmp_path / "b.txt").write_text("\n\n\n".join("\n".join(lines) for lines in reversed(corpus_lines[:11])))
    text = "".join(json.dumps({"text": "\n".join(lines)}) + "\n" for lines in corpus_lines[11:])
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    inputs = [tmp_path / "b.txt", tmp_path / "a.jsonl.gz"]
    reading = ReadOptions(split_sentences="none")
    assert generate(inputs, tmp_path / "out", small_vocab, reading=reading) == dataset[0]


def test_another_seed_gives_other_shards(dataset, tmp_path, corpus_file, small_vocab):
    config = InstanceConfig(**{**vars(CONFIG), "random_seed": 1})
    files = generate([corpus_file], tmp_path / "out", small_vocab, config)
    assert not any(files[name] == content for name, content in dataset[0].items() if name.startswith("instances"))


def test_pools_without_documents_have_empty_shards(tmp_path, corpus_file, small_vocab):
    generate([corpus_file], tmp_path / "out", small_vocab, pools=Pools(train=200, eval=1))
    info = DatasetInfo.load(tmp_path / "out")
    assert len(info.shards_of("train")) == 600
    assert any(shard.examples == 0 for shard in info.shards)
    Dataset.open(tmp_path / "out").check_files()


def test_the_corpus_is_measured_by_its_text_alone(tmp_path, corpus_file, corpus_lines, small_vocab):
    text = "".join(json.dumps({"text": "\n\n".join(lines)}) + "\n" for lines in corpus_lines)
    (tmp_path / "a.jsonl").write_text(text + "{broken\n")
    measured = [measure(path, small_vocab, tmp_path) for path in (corpus_file, tmp_path / "a.jsonl")]
    text_bytes = sum(len(line.replace(" ", "").encode()) for lines in corpus_lines for line in lines)
    for counts in measured:
        assert counts["documents"] == 40
        assert counts["bytes"] == text_bytes
    assert measured[1]["set_aside/malformed JSON"] == 1


def test_words_are_counted_over_all_files(tmp_path):
    (tmp_path / "a.txt").write_text("To be.\n\nOr not")
    (tmp_path / "b.txt").write_text("to\tBE!")
    [(arrays, reading)] = run_for_results(LocalRunner(1), [CountWords([str(tmp_path)], ReadOptions(), cased=False)])
    assert WordCounts.from_arrays(arrays).words == {"to": 2, "be": 2, ".": 1, "or": 1, "not": 1, "!": 1}
    assert reading == {"documents/read": 3}


def measure(path, vocab, folder) -> Counter[str]:
    """What is measured of a file; rejected documents are listed below the folder."""
    job = SpillCorpus(
        parts=list(list_parts([str(path)])),
        options=ReadOptions(),
        vocab=vocab,
        config=CONFIG,
        folder=str(folder),
        name="task",
        buffer_bytes=10**6,
    )
    LocalRunner(1).run([job])
    return read_result(job.result)[1]


def test_names_of_files_may_have_bytes_that_are_no_utf8(tmp_path, small_vocab):
    folder = tmp_path / os.fsdecode(b"spill\xfe")
    folder.mkdir()
    path = tmp_path / os.fsdecode(b"a\xff.jsonl")
    path.write_text('{"text": "One."}\n{broken\n')
    assert measure(path, small_vocab, folder)["documents"] == 1
    rejected = json.loads((folder / "task.rejected" / "rejected-00000.jsonl").read_text())
    assert rejected["file"].endswith("a\\udcff.jsonl")
    path.write_bytes(b"PK\3\4")
    with pytest.raises(InputError, match=r"a\\udcff\.jsonl is no text but an archive"):
        measure(path, small_vocab, folder)
