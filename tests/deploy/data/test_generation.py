"""`maskmill generate` as a user runs it: interrupted, killed, short of memory, and always the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import SMALL, assert_refused, maskmill, run
from isal import igzip

from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.records.examples import decode_example
from maskmill.pipeline.records.tfrecord import read_records

LONG = ["--max-seq-length", 32, "--max-predictions-per-seq", 5, "--dupe-factor", 30, "--shards-per-copy", 3]
RECORDS = ".unfinished/*.tfrecord.json"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, corpus_lines) -> Path:
    """Four thousand documents, all different."""
    rng = random.Random(0)
    words = sorted({word for lines in corpus_lines for line in lines for word in line.split()})
    path = tmp_path_factory.mktemp("long") / "corpus.txt"
    documents = ["\n".join(" ".join(rng.choices(words, k=9)) for _ in range(8)) for _ in range(4000)]
    path.write_text("\n\n".join(documents))
    return path


@pytest.fixture(scope="module")
def arguments(corpus, small_vocab_file) -> list[object]:
    return ["generate", corpus, "--vocab-file", small_vocab_file, *LONG]


@pytest.fixture(scope="module")
def expected(tmp_path_factory, arguments) -> dict[str, bytes]:
    """The files of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("expected") / "out"
    result = maskmill(*arguments, "--output", folder)
    assert result.returncode == 0, result.stderr
    return files_of(folder)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from maskmill.deploy.cli import main; main(prog_name='maskmill')",
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not is_so():
        assert process.poll() is None, "it ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The processes that were forked from the one that its child is: those have no other children."""
    children = dict(map(parent_of, Path("/proc").glob("[0-9]*/stat")))
    return [pid for pid, parent in children.items() if children.get(parent) == process.pid]


def parent_of(stat: Path) -> tuple[int, int]:
    return int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize(
    ("how", "workers"), [(signal.SIGKILL, 1), (signal.SIGINT, 1), (signal.SIGINT, 2), (signal.SIGTERM, 2)]
)
def test_an_interrupted_run_goes_on_and_keeps_what_is_finished(tmp_path, arguments, expected, how, workers):
    output = tmp_path / "out"
    process = start(*arguments, "--output", output, "--num-workers", workers)
    wait_until(lambda: len(list(output.glob(RECORDS))) >= 5, process)
    os.killpg(process.pid, how)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[how]
    assert errors == ("" if how == signal.SIGKILL else "\nStopped; the same command goes on with what is finished.\n")
    assert "going on" not in printed
    assert not (output / "dataset_info.json").exists()
    finished = {path.name.removesuffix(".json"): 0 for path in output.glob(RECORDS)}
    for name in finished:
        assert (output / name).read_bytes() == expected[name]
        finished[name] = (output / name).stat().st_mtime_ns

    damaged, missing, unrecorded, *kept = sorted(finished)
    (output / ".unfinished" / f"{unrecorded}.json").write_text('{"shard": 3')
    (output / damaged).write_bytes(expected[damaged][:-1] + b"?")
    (output / missing).unlink()
    result = maskmill(*arguments, "--output", output)
    assert result.returncode == 0, result.stderr
    assert f"Going on with an interrupted run: {len(kept)} of 90 shards are finished" in result.stdout
    assert files_of(output) == expected
    assert [(output / name).stat().st_mtime_ns for name in kept] == [finished[name] for name in kept]


MANY_TASKS = (
    "import maskmill.deploy.data.spilling as s; s.SMALL_INPUT, s.PART_BYTES = 1, 100_000\n"
    "from maskmill.deploy.cli import main; main(prog_name='maskmill')"
)


@pytest.mark.parametrize(("workers", "then"), [(1, 2), (2, 1)])
def test_documents_that_are_tokenized_are_not_read_again(tmp_path, arguments, expected, workers, then):
    """Killed when the first of four tasks has ended; then the rest is done with another number of workers."""
    output, spill = tmp_path / "out", tmp_path / "out" / ".spill"
    command = [sys.executable, "-c", MANY_TASKS, *map(str, arguments), "--output", str(output), "--num-workers"]
    process = subprocess.Popen([*command, str(workers)], text=True, start_new_session=True)
    wait_until(lambda: any(spill.glob("*.npz")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    finished = len(list(spill.glob("*.npz")))
    assert 1 <= finished < 4
    result = subprocess.run([*command, str(then)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert f"Going on with an interrupted run: {finished / 4:.0%} of the documents are tokenized" in result.stdout
    assert files_of(output) == expected


def test_a_spill_that_was_built_from_is_not_used_for_other_documents(tmp_path, corpus_lines, small_vocab_file):
    pages = ["\n".join(lines) for lines in corpus_lines]
    corpus, arguments = tmp_path / "a.txt", ["--vocab-file", small_vocab_file, *SMALL, "--shards-per-copy", 3]
    corpus.write_text("\n\n".join([*pages, *["the cat sat\na dog ran"] * 150]))
    kill = (
        "import os, maskmill.deploy.data.generate_here as g; g.write_manifest = lambda *a: os.kill(os.getpid(), 9)\n"
        "from maskmill.deploy.cli import main; main(prog_name='maskmill')"
    )
    command = ["generate", corpus, *arguments, "--output", tmp_path / "out", "--overwrite"]
    assert subprocess.run([sys.executable, "-c", kill, *map(str, command)], capture_output=True).returncode == -9
    assert any((tmp_path / "out" / ".spill").glob("dealt-*"))
    corpus.write_text("\n\n".join(pages))
    run(*command)
    run("generate", corpus, *arguments, "--output", tmp_path / "expected")
    assert files_of(tmp_path / "out") == files_of(tmp_path / "expected")


def leave_unfinished(output: Path, arguments: list[object]) -> None:
    """A run that is killed after its first shard."""
    process = start(*arguments, "--output", output)
    wait_until(lambda: any(output.glob(RECORDS)), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_another_command_or_other_documents_do_not_go_on(tmp_path, arguments, corpus):
    output = tmp_path / "out"
    leave_unfinished(output, arguments)
    before = files_of_unfinished(output)
    result = maskmill(*arguments, "--output", output, "--random-seed", 1)
    assert_refused(result, "holds an unfinished run with random_seed 12345, not 1; give the same command")
    other = tmp_path / "other.txt"
    other.write_text(corpus.read_text() + "\n\nthe cat")
    result = maskmill(arguments[0], other, *arguments[2:], "--output", output)
    assert_refused(result, "holds an unfinished run with documents ")
    assert files_of_unfinished(output) == before
    assert maskmill(*arguments, "--output", output, "--random-seed", 1, "--overwrite").returncode == 0
    assert DatasetInfo.load(output).config["random_seed"] == 1


def files_of_unfinished(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}


def test_the_same_text_in_other_sentences_does_not_go_on(tmp_path, arguments, corpus):
    output = tmp_path / "out"
    leave_unfinished(output, arguments)
    documents = corpus.read_text().split("\n\n")
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(document.replace("\n", " ", 1) for document in documents))
    result = maskmill(arguments[0], other, *arguments[2:], "--output", output)
    assert_refused(result, "holds an unfinished run with documents ")


def test_a_worker_that_is_killed_changes_nothing(tmp_path, arguments, expected):
    output = tmp_path / "out"
    process = start(*arguments, "--output", output, "--num-workers", 2)
    wait_until(lambda: len(list(output.glob(RECORDS))) >= 3, process)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "A worker process was killed; going on with what is finished" in errors
    assert files_of(output) == expected


def test_a_folder_with_the_users_own_modules_changes_nothing(tmp_path, corpus_file, small_vocab_file, monkeypatch):
    arguments = ["generate", corpus_file, "--vocab-file", small_vocab_file, *SMALL]
    assert maskmill(*arguments, "--output", tmp_path / "expected").returncode == 0
    for name in ("model.py", "pipeline/__init__.py", "tokenizer/__init__.py"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("raise RuntimeError('not this one')")
    command = [Path(sys.executable).parent / "maskmill", *arguments, "--output", tmp_path / "out", "--num-workers", 2]
    subprocess.run(list(map(str, command)), cwd=tmp_path / "mine", check=True, capture_output=True)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "expected")


def test_two_lengths_are_the_datasets_of_each_alone(tmp_path, corpus_file, small_vocab_file):
    arguments = ["generate", corpus_file, "--vocab-file", small_vocab_file, "--dupe-factor", 2]
    lengths = ["--max-seq-length", 32, "--max-seq-length", 64]
    assert maskmill(*arguments, *lengths, "--output", tmp_path / "both").returncode == 0
    for length in (32, 64):
        assert maskmill(*arguments, "--max-seq-length", length, "--output", tmp_path / str(length)).returncode == 0
        assert files_of(tmp_path / "both" / f"seq{length}") == files_of(tmp_path / str(length))
    assert DatasetInfo.load(tmp_path / "64").max_predictions_per_seq == 10  # 64 * 0.15, rounded up


def test_a_run_that_is_killed_after_its_first_manifest_goes_on(tmp_path, corpus_file, small_vocab_file):
    lengths = ["--max-seq-length", 32, "--max-seq-length", 64]
    arguments = ["generate", corpus_file, "--vocab-file", small_vocab_file, *lengths, "--output", tmp_path / "out"]
    kill = (
        "import os, maskmill.deploy.data.generate_here as g; write = g.write_manifest\n"
        "g.write_manifest = lambda *a: (write(*a), os.kill(os.getpid(), 9))\n"
        "from maskmill.deploy.cli import main; main(prog_name='maskmill')"
    )
    assert subprocess.run([sys.executable, "-c", kill, *map(str, arguments)], capture_output=True).returncode == -9
    manifests = [tmp_path / "out" / f"seq{length}" / "dataset_info.json" for length in (32, 64)]
    assert [manifest.exists() for manifest in manifests] == [True, False]
    result = maskmill(*arguments)
    assert result.returncode == 0, result.stderr
    assert "Going on with an interrupted run: 20 of 20 shards are finished" in result.stdout
    for manifest in manifests:
        Dataset.open(manifest.parent).check_files()
        assert sorted(path.name for path in manifest.parent.glob(".*")) == []
    assert_refused(maskmill(*arguments), "holds a dataset")


def test_workers_end_with_the_process_that_started_them(tmp_path, arguments, expected):
    output = tmp_path / "out"
    process = start(*arguments, "--output", output, "--num-workers", 2)
    wait_until(lambda: any(output.glob(RECORDS)), process)
    workers = workers_of(process)
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 300
    while any(is_running(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    result = maskmill(*arguments, "--output", output, "--num-workers", 2)
    assert result.returncode == 0, result.stderr
    assert files_of(output) == expected


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_number_of_shards_depends_on_the_text_alone(tmp_path, corpus, small_vocab_file):
    documents = [f"{document}\n{document.upper()} {document}" for document in corpus.read_text().split("\n\n")] * 4
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "all.txt").write_text("\n\n".join(documents))
    (tmp_path / "mixed").mkdir()
    half = len(documents) // 2
    (tmp_path / "mixed" / "b.txt.gz").write_bytes(igzip.compress("\n \n\n".join(documents[half:]).encode()))
    lines = "\n".join(json.dumps({"text": document}) for document in documents[:half])
    (tmp_path / "mixed" / "a.jsonl").write_text(lines)
    arguments = ["--vocab-file", small_vocab_file, *SMALL, "--dupe-factor", 1, "--split-sentences", "none"]
    made = {}
    for name, workers in (("text", 1), ("mixed", 2)):
        output = tmp_path / f"{name}_out"
        result = maskmill("generate", tmp_path / name, *arguments, "--output", output, "--num-workers", workers)
        assert result.returncode == 0, result.stderr
        made[name] = files_of(output)
    assert made["text"] == made["mixed"]
    assert sum(name.startswith("instances") for name in made["text"]) == 2


def test_duplicates_are_counted_and_dropped_when_asked(tmp_path, small_vocab_file):
    documents = [f"the cat sat on a {word}\nit ran" for word in ("mat", "park", "dog")]
    (tmp_path / "a.txt").write_text("\n\n".join([*documents, documents[0], documents[0]]))
    arguments = ["generate", tmp_path / "a.txt", "--vocab-file", small_vocab_file, *SMALL]
    counts = {}
    for name, options in (("all", []), ("dedup", ["--dedup"])):
        assert maskmill(*arguments, *options, "--output", tmp_path / name).returncode == 0
        counts[name] = DatasetInfo.load(tmp_path / name).counts["train"]
    assert (counts["all"]["documents"], counts["all"]["duplicate_documents"]) == (5, 2)
    assert (counts["dedup"]["documents"], counts["dedup"]["duplicate_documents"]) == (3, 2)
    (tmp_path / "b.txt").write_text("\n\n".join(documents))
    assert maskmill("generate", tmp_path / "b.txt", *arguments[2:], "--output", tmp_path / "b").returncode == 0
    shards = [path.name for path in (tmp_path / "b").glob("*.tfrecord")]
    assert [(tmp_path / "dedup" / s).read_bytes() for s in shards] == [
        (tmp_path / "b" / s).read_bytes() for s in shards
    ]


def test_compressed_shards_hold_the_same_records(tmp_path, corpus_file, small_vocab_file):
    arguments = ["generate", corpus_file, "--vocab-file", small_vocab_file, *SMALL]
    assert maskmill(*arguments, "--output", tmp_path / "plain").returncode == 0
    assert maskmill(*arguments, "--compression", "gzip", "--output", tmp_path / "gzip").returncode == 0
    info = DatasetInfo.load(tmp_path / "gzip")
    Dataset.open(tmp_path / "gzip").check_files()
    for shard in info.shards:
        plain = tmp_path / "plain" / shard.path.removesuffix(".gz")
        assert igzip.decompress((tmp_path / "gzip" / shard.path).read_bytes()) == plain.read_bytes()
    assert maskmill("inspect", tmp_path / "gzip").returncode == 0


@pytest.mark.parametrize(("objective", "separators"), [("nsp", 2), ("sop", 2), ("mlm", 1)])
def test_objectives_write_pairs_or_single_segments(
    tmp_path, corpus_file, small_vocab_file, small_vocab, objective, separators
):
    arguments = ["generate", corpus_file, "--vocab-file", small_vocab_file, *SMALL, "--objective", objective]
    assert maskmill(*arguments, "--output", tmp_path / "out").returncode == 0
    info = DatasetInfo.load(tmp_path / "out")
    assert info.config["objective"] == objective
    labels = set()
    for shard in info.shards:
        for record in read_records(tmp_path / "out" / shard.path):
            example = decode_example(record)
            assert example["input_ids"].count(small_vocab.ids["[SEP]"]) == separators
            labels.add(example["next_sentence_labels"][0])
    assert labels == ({0} if objective == "mlm" else {0, 1})
    printed = maskmill("inspect", tmp_path / "out").stdout
    assert ("random next" in printed, "swapped" in printed) == (objective == "nsp", objective == "sop")


def test_a_dry_run_tells_and_writes_nothing(tmp_path, arguments, expected):
    result = maskmill(*arguments, "--output", tmp_path / "out", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "out").exists()
    rows = {line.split("│")[1].strip(): line.split("│")[2:4] for line in result.stdout.splitlines() if "│" in line}
    info = json.loads(expected["dataset_info.json"])
    told = int(rows["instances to train on"][0].replace(",", ""))
    made = info["counts"]["train"]["instances"]
    assert 0.9 * made < told < 1.1 * made
    assert int(rows["shards"][0]) == len(info["shards"]) == 90
    assert "held-out instances" not in rows
    assert "30 copies of each document. A run with 1 worker and a memory limit of" in result.stdout
    assert "4,000 documents" in result.stdout
    assert "all of the input was read" in result.stdout
    assert "Nothing was written" in result.stdout


def test_a_dry_run_counts_held_out_documents_once_and_tells_what_a_run_needs(tmp_path, corpus, small_vocab_file):
    arguments = ["generate", corpus, "--vocab-file", small_vocab_file, *LONG, "--eval-fraction", 0.5, "--memory-limit"]
    told = json.loads(maskmill(*arguments, "600MB", "--output", tmp_path / "none", "--dry-run", "--json").stdout)
    run(*arguments, "600MB", "--output", tmp_path / "out")
    made = DatasetInfo.load(tmp_path / "out")
    (one,) = told["estimates"]
    assert one["train_instances"] == pytest.approx(made.counts["train"]["instances"], rel=0.1)
    assert one["eval_instances"] == pytest.approx(made.counts["eval"]["instances"], rel=0.1)
    assert one["bytes"] == pytest.approx(sum(shard.bytes for shard in made.shards), rel=0.1)
    assert one["shards"] == len(made.shards)
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert told["memory_limit"] == facts["memory_limit"] == 600_000_000
    assert 100_000 < told["temporary_bytes"] < 10_000_000
    assert told["documents_margin"] == 0.0
    assert 0 < told["processor_seconds"] < 600
    assert_refused(maskmill(*arguments, "100MB", "--output", tmp_path / "none", "--dry-run"), "memory_limit is 100 MB")


def test_a_dry_run_tells_what_cannot_be_used(tmp_path, small_vocab_file):
    (tmp_path / "a.jsonl").write_text('{"text": "the cat sat."}\n{"body": "x"}\n{"text": "a dog ran."}\n')
    arguments = ["generate", tmp_path / "a.jsonl", "--vocab-file", small_vocab_file, "--output", tmp_path / "out"]
    result = maskmill(*arguments, "--dry-run")
    assert "In the sample 1 more documents cannot be used: no field 'text'" in result.stderr
    assert_refused(
        maskmill(*arguments, "--dry-run", "--text-field", "x"), "no documents that can be read (no field 'x' (3))"
    )


def test_a_memory_limit_too_small_for_one_pool_is_one_sentence(tmp_path, arguments):
    result = maskmill(*arguments, "--output", tmp_path / "out", "--memory-limit", "100MB")
    assert_refused(result, "memory_limit is 100 MB; expected", "MB or more, for a pool of ")
    assert not (tmp_path / "out").exists()
    assert_refused(maskmill(*arguments, "--output", tmp_path / "out", "--memory-limit", "lots"), exit_code=2)
