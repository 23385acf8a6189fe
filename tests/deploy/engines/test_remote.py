"""The same bytes from a Beam job server; its workers run in this process (LOOPBACK)."""

import json
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import pytest
from click.testing import CliRunner
from cloud import serve
from command import SMALL, assert_refused, maskmill, run
from engines import job_endpoint as job_endpoint  # a fixture
from engines import silent_port

from maskmill.deploy.cli import main
from maskmill.deploy.engines import portable
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.jobs.corpus import divide_corpus
from maskmill.pipeline.jobs.manifest import write_manifest
from maskmill.pipeline.jobs.shards import ShardBuilder
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import id_dtype

LOOPBACK = ["--", "--environment_type=LOOPBACK"]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != "run.json"}


def test_a_job_server_gives_the_bytes_of_a_local_run(tmp_path, corpus_file, small_vocab_file, job_endpoint):
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint]
    made = {}
    for name, options, beam_options in (("here", [], []), ("there", remote, LOOPBACK)):
        folder = tmp_path / name
        options = [*options, "--output", folder, "--vocab-file", small_vocab_file, *SMALL, "--eval-fraction", 0.2]
        result = maskmill("generate", corpus_file, *options, *beam_options)
        assert result.returncode == 0, result.stderr
        made[name] = files_of(folder)
    assert made["here"] == made["there"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


@pytest.mark.parametrize("options", [["--id-field", "id"], ["--id-field", "id", "--dedup"], ["--format", "tokens"]])
def test_common_documents_and_repeated_ids_are_the_same_there(
    tmp_path, corpus_lines, small_vocab_file, job_endpoint, options
):
    """A page stands 150 times among 100 documents; 20 documents have the id of another, 10 of which are that page."""
    texts = ["\n".join(lines) + f"\nthe {number}" for number, lines in enumerate(corpus_lines * 3)][:100]
    rows = [{"id": number, "text": text} for number, text in enumerate(texts + ["the cat sat\n\na dog ran"] * 150)]
    rows += [{"id": number, "text": f"{rows[number]['text']} again"} for number in range(95, 115)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({**row, "id": str(row["id"])}) + "\n" for row in rows))
    arguments = ["--vocab-file", small_vocab_file, *SMALL, "--eval-fraction", 0.2, "--shards-per-copy", 3, *options]
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint]
    run("generate", tmp_path / "a.jsonl", *arguments, "--max-rejected", 1, "--output", tmp_path / "here")
    there = ["--max-rejected", 1, "--output", tmp_path / "there", *remote, *LOOPBACK]
    run("generate", tmp_path / "a.jsonl", *arguments, *there)
    assert files_of(tmp_path / "here") == files_of(tmp_path / "there")
    counts = DatasetInfo.load(tmp_path / "here").counts
    assert counts.get("set_aside", {}) == ({"another document has its id": 20} if "--id-field" in options else {})
    assert sum(shard.examples > 0 for shard in DatasetInfo.load(tmp_path / "here").shards_of("train")) >= 3
    if "tokens" in options:
        run("generate", tmp_path / "here", *SMALL, "--format", "tfrecord", "--output", tmp_path / "here2")
        run(
            "generate",
            tmp_path / "there",
            *SMALL,
            "--format",
            "tfrecord",
            "--output",
            tmp_path / "there2",
            *remote,
            *LOOPBACK,
        )
        run("generate", tmp_path / "a.jsonl", *arguments[:-2], "--output", tmp_path / "documents")
        assert files_of(tmp_path / "here2") == files_of(tmp_path / "there2") == files_of(tmp_path / "documents")


def test_a_job_server_gives_the_vocabulary_of_a_local_run(tmp_path, corpus_file, job_endpoint):
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint]
    for name, options, beam_options in (("here.txt", [], []), ("there.txt", remote, LOOPBACK)):
        options = [*options, "--output", tmp_path / name, "--vocab-size", 90]
        result = maskmill("vocab", corpus_file, *options, *beam_options)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "here.txt").read_bytes() == (tmp_path / "there.txt").read_bytes()


def test_an_error_there_is_one_sentence(tmp_path, corpus_file, small_vocab_file, job_endpoint):
    (tmp_path / "cut.txt.gz").write_bytes(b"\x1f\x8b\x08\x00\x00\x00")
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint, "--vocab-file", small_vocab_file]
    files = [*[corpus_file] * 9, tmp_path / "cut.txt.gz"]
    for number, file in enumerate(files):
        (tmp_path / f"{number}.txt").write_bytes(file.read_bytes())
    arguments = [tmp_path / f"{number}.txt" for number in range(len(files))]
    result = maskmill("generate", *arguments, "--output", tmp_path / "out", *remote, *LOOPBACK)
    assert_refused(result, "9.txt is cut off or damaged near byte 6 of 6")


def test_overwriting_there_replaces_a_dataset_when_the_documents_are_good(
    tmp_path, corpus_file, small_vocab_file, job_endpoint
):
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint, "--overwrite"]
    arguments = ["--vocab-file", small_vocab_file, "--output", tmp_path / "out", *SMALL]
    assert maskmill("generate", corpus_file, *arguments).returncode == 0
    before = files_of(tmp_path / "out")
    (tmp_path / "dirty.jsonl").write_text('{"text": "the cat sat."}\n{"text": "a dog ran."}\n{broken\n')
    result = maskmill("generate", tmp_path / "dirty.jsonl", *arguments, *remote, *LOOPBACK)
    assert_refused(result, "1 of 3 documents", "malformed JSON (1); expected at most --max-rejected 0.01")
    assert f"Rejected documents are listed in {tmp_path}/out/.rejected/rejected-*.jsonl" in result.stderr
    assert "malformed JSON" in (tmp_path / "out" / ".rejected" / "rejected-00000.jsonl").read_text()
    assert files_of(tmp_path / "out") == before
    result = maskmill("generate", tmp_path / "dirty.jsonl", *arguments, *remote, "--max-rejected", 0.5, *LOOPBACK)
    assert result.returncode == 0, result.stderr
    assert "malformed JSON (1)" in result.stderr
    assert DatasetInfo.load(tmp_path / "out").counts["documents"]["read"] == 3
    assert not list((tmp_path / "out").glob(".*"))


def test_a_run_that_failed_there_goes_on_and_keeps_what_is_finished(
    tmp_path, corpus_file, small_vocab_file, job_endpoint
):
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint]
    arguments = [corpus_file, "--vocab-file", small_vocab_file, *SMALL, "--shards-per-copy", 3]
    assert maskmill("generate", *arguments, "--output", tmp_path / "here").returncode == 0
    fail = (
        "import maskmill.pipeline.jobs.shards as s; write, written = s.write_records, []\n"
        "def some(path, *rest):\n"
        "    written.append(path)\n"
        "    if len(written) > 4: raise s.InputError('that is enough')\n"
        "    return write(path, *rest)\n"
        "s.InputError = __import__('maskmill').tokenizer.errors.InputError; s.write_records = some\n"
        "from maskmill.deploy.cli import main; main(prog_name='maskmill')"
    )
    command = ["generate", *arguments, "--output", tmp_path / "there", *remote, *LOOPBACK]
    failed = subprocess.run([sys.executable, "-c", fail, *map(str, command)], capture_output=True, text=True)
    assert_refused(failed, "that is enough")
    finished = {path.name for path in (tmp_path / "there").glob("*.tfrecord")}
    assert len(finished) >= 2
    times = {name: (tmp_path / "there" / name).stat().st_mtime_ns for name in finished}
    result = maskmill(*command)
    assert result.returncode == 0, result.stderr
    assert f"Going on with an interrupted run: {len(finished)} shards are finished" in result.stdout
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")
    assert {name: (tmp_path / "there" / name).stat().st_mtime_ns for name in finished} == times


def test_a_job_server_that_is_not_there_is_named(tmp_path, corpus_file, small_vocab_file):
    with silent_port() as port:
        remote = ["--runner", "portable", "--job-endpoint", f"localhost:{port}", "--vocab-file", small_vocab_file]
        result = maskmill("generate", corpus_file, "--output", tmp_path / "out", *remote, *LOOPBACK)
    assert_refused(result, "job_endpoint localhost:", "does not answer", "start it, or check host and port")
    result = maskmill("generate", corpus_file, "--output", tmp_path / "out", *remote[:2], *remote[4:])
    assert_refused(result, "--runner portable needs --job-endpoint HOST:PORT", exit_code=2)
    result = maskmill("generate", corpus_file, "--output", tmp_path / "out", *remote, "--num-workers", 2)
    assert_refused(result, "--num-workers 2 is for this machine", exit_code=2)
    result = maskmill("generate", corpus_file, "--output", tmp_path / "out", *remote[4:], *LOOPBACK)
    assert_refused(
        result, "--environment_type=LOOPBACK is given without --runner flink, dataflow, portable", exit_code=2
    )


def test_what_beam_says_against_its_options_is_one_sentence(tmp_path, corpus_file, small_vocab_file, job_endpoint):
    remote = ["--runner", "portable", "--job-endpoint", job_endpoint, "--vocab-file", small_vocab_file]
    arguments = ["generate", corpus_file, "--output", tmp_path / "out", *remote, "--", "--environment_type=LOOPBACK"]
    result = maskmill(*arguments, "--job_server_timeout=abc")
    assert_refused(result, "Beam does not take its options (argument --job_server_timeout", "'abc'")
    assert_refused(
        maskmill(*arguments[:-1], "--environment_type=NONSENSE"), "Beam does not take its options", "NONSENSE"
    )
    assert not list((tmp_path / "out").glob(".*"))


def test_a_port_where_no_job_server_is_answers_soon(tmp_path, corpus_file, small_vocab_file, monkeypatch):
    class Nothing(BaseHTTPRequestHandler):
        pass

    monkeypatch.setattr(portable, "SECONDS_TO_ANSWER", 1)
    with serve(Nothing) as url:
        runner = portable.PortableRunner("portable", [f"--job_endpoint={url.removeprefix('http://')}"], str(tmp_path))
        with pytest.raises(InputError, match=r"does not answer \(something else listens there"):
            runner.check()


def test_ctrl_c_ends_the_job_of_a_vocabulary_there_too(tmp_path, corpus_file, job_endpoint, monkeypatch):
    cancelled = []

    def interrupt(job: portable.PortableJob) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(portable.PortableJob, "wait", interrupt)
    monkeypatch.setattr(portable.PortableJob, "cancel", lambda job: cancelled.append(job))
    runner = ["--runner", "portable", "--job-endpoint", job_endpoint, "--output", tmp_path / "v.txt"]
    result = CliRunner().invoke(main, [str(part) for part in ["vocab", corpus_file, *runner, *LOOPBACK]])
    assert result.exit_code == 130, result.output
    assert len(cancelled) == 1, result.output
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_another_has_taken_over_ends(tmp_path, small_vocab):
    target = Target(
        InstanceConfig(max_seq_length=32, max_predictions_per_seq=5, dupe_factor=2), str(tmp_path), run="run 1"
    )
    corpus = {"documents": 2, "documents/read": 2, "bytes": 100, "fingerprint": 7}
    pools = divide_corpus(corpus, "a.txt", [target], 0.01, overwrite=False)
    pool = PackedPool.gather([], id_dtype(len(small_vocab)))
    first = ShardBuilder(small_vocab, target).build(0, pool, pools)
    next(first)
    divide_corpus(corpus, "a.txt", [replace(target, run="run 2")], 0.01, overwrite=True)
    with pytest.raises(InputError, match="another run has begun in output"):
        next(first)
    with pytest.raises(InputError, match="another run has begun in output"):
        write_manifest(target, small_vocab, pools, corpus)
    assert list(tmp_path.glob("*.tfrecord")) == []
