"""Everything in Cloud Storage: what the commands write there is what they write here."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from cloud import emulator, faulty_network
from command import SMALL, assert_refused, maskmill, refuse, run
from google.cloud.storage import Client

from maskmill.pipeline.storage import storage
from maskmill.pipeline.storage.mirror import MARK, Mirror, mirror
from maskmill.tokenizer.errors import InputError

BERT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture(scope="module")
def server():
    with emulator() as url:
        yield url


@pytest.fixture
def bucket(server, monkeypatch):
    """An empty bucket, to which a network leads that fails now and then."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    bucket = Client().bucket("work")
    if bucket.exists():
        bucket.delete_blobs(list(bucket.list_blobs()))
    else:
        bucket.create()
    kinds = itertools.cycle(["429", "lost", "503", "reset"])
    with faulty_network(server, lambda *request: next(kinds) if request[2] % 17 == 2 else None) as (url, faults):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        yield bucket
    assert faults


def objects_of(bucket, folder: str) -> dict[str, bytes]:
    """The objects in a folder by name, but for what is about the run."""
    found = {
        blob.name.removeprefix(f"{folder}/"): blob.download_as_bytes() for blob in bucket.list_blobs(prefix=folder)
    }
    return {name: content for name, content in found.items() if name != "run.json"}


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "run.json"}


def test_vocab_and_generate_write_there_what_they_write_here(tmp_path, bucket, corpus_file):
    documents = [json.dumps({"text": text}) for text in corpus_file.read_text().split("\n\n")]
    (tmp_path / "corpus.jsonl").write_text("\n".join([*documents, "{broken"]))
    bucket.blob("in/corpus.jsonl").upload_from_filename(tmp_path / "corpus.jsonl")
    options = [*SMALL, "--eval-fraction", 0.2, "--max-rejected", 0.1, "--shards-per-copy", 2]
    for here, corpus in ((str(tmp_path / "here"), tmp_path / "corpus.jsonl"), ("gs://work/there", "gs://work/in")):
        vocab = maskmill("vocab", corpus, "--output", f"{here}/vocab.txt", "--vocab-size", 90, "--max-rejected", 0.1)
        assert vocab.returncode == 0, vocab.stderr
        result = maskmill("generate", corpus, "--vocab-file", f"{here}/vocab.txt", "--output", f"{here}/out", *options)
        assert result.returncode == 0, result.stderr
    there = objects_of(bucket, "there/out")
    here_files = files_of(tmp_path / "here" / "out")
    rejected = [json.loads(files.pop("rejected-00000.jsonl")) for files in (here_files, there)]
    assert rejected[1]["file"] == "gs://work/in/corpus.jsonl"
    assert rejected[0] | {"file": ""} == rejected[1] | {"file": ""}
    assert there == here_files
    assert objects_of(bucket, "there").keys() == {
        "vocab.txt", "tokenizer.json", *(f"out/{name}" for name in there), "out/run.json", "out/rejected-00000.jsonl",
    }  # fmt: skip
    printed = maskmill("inspect", "gs://work/there/out")
    assert printed.returncode == 0, printed.stderr
    assert "record 3\n" in printed.stdout
    again = maskmill("generate", "gs://work/in", "--vocab-file", "gs://work/there/vocab.txt", "--output",
                     "gs://work/there/out", *options)  # fmt: skip
    assert_refused(again, "output gs://work/there/out holds a dataset; give another folder, or --overwrite")


def test_a_run_there_that_is_killed_goes_on(tmp_path, bucket, corpus_file, small_vocab_file):
    bucket.blob("vocab.txt").upload_from_filename(small_vocab_file)
    options = ["--vocab-file", "gs://work/vocab.txt", *SMALL, "--dupe-factor", 40]
    assert maskmill("generate", corpus_file, *options, "--output", tmp_path / "here").returncode == 0
    command = ["generate", str(corpus_file), *map(str, options), "--output", "gs://work/out"]
    process = subprocess.Popen(
        [sys.executable, "-c", "from maskmill.deploy.cli import main; main(prog_name='maskmill')", *command],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while len(list(bucket.list_blobs(prefix="out/.unfinished/instances"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not bucket.blob("out/dataset_info.json").exists()
    result = maskmill(*command)
    assert result.returncode == 0, result.stderr
    assert "Going on with an interrupted run" in result.stdout
    assert objects_of(bucket, "out") == files_of(tmp_path / "here")


def test_a_bucket_that_is_not_there_is_named_before_any_work(bucket, corpus_file, small_vocab_file):
    generate = ["generate", corpus_file, "--vocab-file", small_vocab_file, "--output", "gs://no-such-one/out"]
    assert "gs://no-such-one/out is not there (or its bucket)" in refuse(*generate)
    vocab = ["vocab", corpus_file, "--output", "gs://no-such-one/vocab.txt"]
    assert "gs://no-such-one is not there (or its bucket)" in refuse(*vocab)
    assert "gs://no-such-one/out is not there (or its bucket)" in refuse("inspect", "gs://no-such-one/out")


def test_what_lies_in_folders_of_a_model_is_sent_too(bucket):
    with mirror("gs://work/traced") as folder:
        trace = folder.local / "profile" / "plugins" / "vm.xplane.pb"
        trace.parent.mkdir(parents=True)
        trace.write_bytes(b"a trace")
        (folder.local / "training.json").write_bytes(b"{}")
        (folder.local / ".unfinished.tmp").write_bytes(b"half")
    assert objects_of(bucket, "traced") == {"profile/plugins/vm.xplane.pb": b"a trace", "training.json": b"{}"}
    with mirror("gs://work/traced") as folder:
        assert (folder.local / "training.json").read_bytes() == b"{}"
    assert len(objects_of(bucket, "traced")) == 2


def write_step(folder, step: int) -> None:
    """What a training writes until a checkpoint."""
    (folder.local / "metrics.jsonl").write_text(f"{step}")
    (folder.local / f"checkpoint-{step}.safetensors").write_text(f"{step}")


TAKEN = r"another training has written into gs://work/taken since this one last did; let only one run"


def begin(local) -> Mirror:
    """A training into gs://work/taken that begins now."""
    local.mkdir()
    folder = Mirror(local, "gs://work/taken", trains=True)
    folder.fetch()
    return folder


def test_of_two_trainings_into_one_folder_the_first_to_save_goes_on(bucket, tmp_path):
    first, late = begin(tmp_path / "first"), begin(tmp_path / "late")
    for step in (2, 4):
        write_step(first, step)
        first.send_if_possible()
    write_step(late, 3)
    with pytest.raises(InputError, match=TAKEN):
        late.send_if_possible()
    assert objects_of(bucket, "taken").keys() == {
        MARK, "metrics.jsonl", "checkpoint-2.safetensors", "checkpoint-4.safetensors",
    }  # fmt: skip


def test_a_training_that_was_taken_for_dead_stops_at_its_next_checkpoint(bucket, tmp_path):
    old = begin(tmp_path / "old")
    write_step(old, 2)
    old.send()
    new = begin(tmp_path / "new")  # at once
    assert (new.local / "checkpoint-2.safetensors").exists()
    write_step(new, 4)
    new.send()
    write_step(old, 3)
    with pytest.raises(InputError, match=TAKEN):
        old.send_if_possible()
    with mirror("gs://work/taken") as evaluation:
        (evaluation.local / "eval_results.txt").write_text("")  # no training, and no matter
    write_step(new, 6)
    new.send()
    assert bucket.blob("taken/metrics.jsonl").download_as_bytes() == b"6"


def train_late(tmp_path) -> None:
    with mirror("gs://work/taken", trains=True) as late:
        first = begin(tmp_path / "first")
        for folder in (first, late):
            write_step(folder, 3)
        first.send()


def test_what_an_overtaken_training_has_is_kept_here(bucket, tmp_path):
    with pytest.raises(InputError, match=TAKEN) as error:
        train_late(tmp_path)
    kept = Path(str(error.value).partition("; what could not be sent is in ")[2])
    assert (kept / "checkpoint-3.safetensors").exists()
    shutil.rmtree(kept)


def test_a_second_training_that_has_nothing_to_send_disturbs_nobody(bucket):
    with mirror("gs://work/alone", trains=True) as first:
        write_step(first, 2)
        first.send()
        with pytest.raises(InputError, match="holds a training with"), mirror("gs://work/alone", trains=True):
            raise InputError("holds a training with")
        write_step(first, 4)
        first.send()


def test_a_checkpoint_is_sent_after_all_that_was_written_before_it(bucket, monkeypatch):
    sent = []

    def create_file(path):
        sent.append(path)
        return real(path)

    real = storage.create_file
    monkeypatch.setattr("maskmill.pipeline.storage.mirror.create_file", create_file)
    with mirror("gs://work/ordered", trains=True) as folder:
        for step in (2, 4):
            write_step(folder, step)
    assert [os.path.basename(path) for path in sent] == [
        "checkpoint-2.safetensors", "metrics.jsonl", "checkpoint-4.safetensors",
    ]  # fmt: skip


def test_a_model_is_trained_evaluated_and_exported_there(tmp_path, bucket, corpus_file, small_vocab_file):
    pytest.importorskip("tensorflow", reason="needs the [train] extra")
    import keras

    (tmp_path / "bert.json").write_text(json.dumps({**BERT, "max_position_embeddings": 32}))
    train = ["--bert-config", tmp_path / "bert.json", "--train-batch-size", 8, "--save-checkpoints-steps", 3]
    generate = ["--vocab-file", small_vocab_file, *SMALL, "--eval-fraction", 0.2]
    filled = {}
    for place in (str(tmp_path), "gs://work"):
        model = ["--model-dir", f"{place}/model"]
        run("generate", corpus_file, *generate, "--output", f"{place}/shards")
        run("train", f"{place}/shards", *model, *train, "--num-train-steps", 8)
        run("evaluate", f"{place}/shards", *model)
        filled[place] = run("fill-mask", *model, "the [MASK] sat")
        run("export", *model, "--output", f"{place}/huggingface")
    assert filled[str(tmp_path)] == filled["gs://work"]
    there, here = objects_of(bucket, "model"), files_of(tmp_path / "model")
    logs = "events.out.tfevents"
    del there[MARK]
    assert {name for name in there if not name.startswith(logs)} == {name for name in here if not name.startswith(logs)}
    for name in ("checkpoint-8.safetensors", "checkpoint-6.safetensors", "eval_results.txt", "vocab.txt"):
        assert there[name] == here[name]
    exported, expected = objects_of(bucket, "huggingface"), files_of(tmp_path / "huggingface")
    assert exported.keys() == expected.keys()
    for name in exported.keys() - {"model.keras"}:  # in which Keras writes the time, and names with running numbers
        assert exported[name] == expected[name], name
    (tmp_path / "fetched.keras").write_bytes(exported["model.keras"])
    fetched, made = (keras.saving.load_model(tmp_path / name) for name in ("fetched.keras", "huggingface/model.keras"))
    assert len(fetched.weights) == len(made.weights) > 20
    assert all(np.array_equal(*both) for both in zip(fetched.get_weights(), made.get_weights()))

    bucket.blob("model/checkpoint-8.safetensors").delete()  # as if it had been preempted before
    run("train", "gs://work/shards", *model, *train, "--num-train-steps", 8)
    assert objects_of(bucket, "model")["checkpoint-8.safetensors"] == here["checkpoint-8.safetensors"]
    refused = refuse("train", "gs://work/shards", *model, *train, "--num-train-steps", 9)
    assert "gs://work/model holds a training with num_train_steps 8, this one has 9" in refused
