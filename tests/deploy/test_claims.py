"""One writer at a time: what a command writes replaces nothing that it was not to replace, and a kill loses nothing."""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cloud import emulator, faulty_network
from command import SMALL, refuse, run
from damage import make_dataset, said, validate
from google.cloud.storage import Client

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.outputs import check_output, leave_out_finished, prepare_output
from maskmill.pipeline.dataset.target import Target
from maskmill.pipeline.dataset.unfinished import RUN_ID, Unfinished
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pools import Pools
from maskmill.pipeline.jobs.manifest import write_manifest
from maskmill.pipeline.jobs.shards import ShardBuilder
from maskmill.pipeline.storage.local_claims import create_folder
from maskmill.pipeline.storage.storage import claim_files, claim_folder, create_file
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.fast import id_dtype


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(claim, path: str, text: str) -> None:
    with claim.create_file(path) as file:
        file.write(text.encode())


def write_files(paths: list[str], text: str, overwrite: bool = False) -> None:
    with claim_files(paths, overwrite) as claim:
        for path in paths:
            write(claim, path, text)


def test_a_file_has_one_writer_at_a_time(tmp_path):
    path = str(tmp_path / "new" / "vectors.parquet")
    with claim_files([path], overwrite=True):
        with pytest.raises(InputError, match=r"another process is writing .*vectors.parquet; wait until it ends"):
            write_files([path], "second")
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(InputError, match=r"another process is writing"):
            write_files([str(tmp_path / "link")], "second")
    assert names_in(tmp_path) == ["link"]  # the folder was made for nothing, and is gone
    write_files([path], "first")
    with pytest.raises(InputError, match=r"output .* exists; give another name, or --overwrite"):
        write_files([path], "second")
    write_files([str(tmp_path / "link")], "second", overwrite=True)
    assert Path(path).read_text() == "second"
    assert names_in(tmp_path / "new") == ["vectors.parquet"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_came_in_between_is_not_replaced(tmp_path, overwrite):
    first, last = str(tmp_path / "ids.jsonl"), str(tmp_path / "vectors.npy")
    if overwrite:
        Path(last).write_text("before")

    def write_late() -> None:
        with claim_files([first, last], overwrite) as claim:
            write(claim, first, "ours")
            with claim.create_file(last) as file:
                file.write(b"ours")
                Path(last).write_text("of somebody else")

    with pytest.raises(InputError, match=r"vectors.npy was written by something else while this command ran"):
        write_late()
    assert Path(last).read_text() == "of somebody else"
    assert names_in(tmp_path) == ["vectors.npy"]


def test_an_output_that_is_no_file_is_refused(tmp_path):
    for path in (str(tmp_path), "/dev/null"):
        with pytest.raises(InputError, match=f"output {path} is a folder or a device; give the name of a file"):
            write_files([path], "text", overwrite=True)


def test_long_names_are_written_and_too_long_ones_refused_at_once(tmp_path):
    long = str(tmp_path / ("n" * 251 + ".txt"))
    write_files([long], "text")
    with create_file(long) as file:
        file.write(b"other")
    assert names_in(tmp_path) == [os.path.basename(long)]
    with pytest.raises(InputError, match=r"cannot be written .File name too long."):
        write_files([str(tmp_path / ("n" * 256))], "text")


def test_in_cloud_storage_an_object_that_came_in_between_is_not_replaced(monkeypatch):
    def fault(method: str, path: str, number: int) -> str | None:
        return "412" if "ifGenerationMatch=0" in path else None  # what Cloud Storage says, and the emulator does not

    with emulator() as server, faulty_network(server, fault) as (url, _):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        Client().create_bucket("work")
        with pytest.raises(InputError, match=r"gs://work/v.txt was written by something else while this command ran"):
            write_files(["gs://work/v.txt"], "text")
        with create_file("gs://work/v.txt") as file:
            file.write(b"before")
        with pytest.raises(InputError, match=r"output gs://work/v.txt exists"):
            write_files(["gs://work/v.txt"], "text")
        write_files(["gs://work/v.txt"], "after", overwrite=True)


def fill(folder: Path) -> None:
    with create_folder(folder) as unfinished:
        (unfinished / "weights").write_text("weights")
        (unfinished / "config.json").write_text("config")


def fill_up(folder: Path) -> None:
    with create_folder(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # without a name, as zipfile does


def test_a_folder_is_filled_when_all_is_whole(tmp_path, monkeypatch):
    (tmp_path / ".bert.unfinished").mkdir()
    (tmp_path / ".bert.unfinished" / "mine").write_text("mine")
    fill(tmp_path / "bert")
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    fill(tmp_path / "link")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fill(Path("."))
    for name in ("bert", "target", "here"):
        assert names_in(tmp_path / name) == ["config.json", "weights"]
    with pytest.raises(InputError, match=r"output .*bert is not empty"):
        fill(tmp_path / "bert")
    with create_folder(tmp_path / "new"), pytest.raises(InputError, match=r"another process is writing .*new"):
        fill(tmp_path / "new")

    def fail() -> None:
        with create_folder(tmp_path / "other" / "new") as unfinished:
            (unfinished / "weights").write_text("weights")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with pytest.raises(InputError, match=r"full cannot be written \(No space left on device\); make room"):
        fill_up(tmp_path / "full")
    assert names_in(tmp_path) == [".bert.unfinished", "bert", "here", "link", "target"]
    assert names_in(tmp_path / ".bert.unfinished") == ["mine"]


class Killed(BaseException):
    """The process has ended: what is raised from then on, whatever tries to write."""


@contextmanager
def killed_before(write_number: int, monkeypatch) -> Iterator[list[int]]:
    """Within it nothing changes the disk from that change on, as in a process that was killed; yields the changes."""
    made: list[int] = []

    def wrap(change: Callable[..., object]) -> Callable[..., object]:
        def changed(*arguments: object, **named: object) -> object:
            if len(made) >= write_number:
                raise Killed
            made.append(1)
            return change(*arguments, **named)

        return changed

    with monkeypatch.context() as patch:
        for name in ("replace", "link", "unlink", "mkdir", "rmdir"):
            patch.setattr(os, name, wrap(getattr(os, name)))
        yield made


def kill_everywhere(monkeypatch, new_folder: Callable[[int], Path], work: Callable[[Path], None]) -> Iterator[Path]:
    """The folders that two runs of `work` leave, of which the first is killed, once at each change of the disk."""
    for number in range(1_000):
        folder = new_folder(number)
        with killed_before(number, monkeypatch) as made:
            try:
                work(folder)
            except Killed:
                pass
            else:
                assert len(made) == number > 3
                return
        yield folder
    raise AssertionError


def test_a_kill_at_any_moment_leaves_files_that_the_same_command_writes(tmp_path, monkeypatch):
    def write_two(folder: Path) -> None:
        write_files([str(folder / "tokenizer.json"), str(folder / "vocab.txt")], "text")

    for folder in kill_everywhere(monkeypatch, lambda number: tmp_path / str(number), write_two):
        with suppress(InputError):  # both are whole, and what was to be cleaned up is not
            write_two(folder)
        assert names_in(folder) == ["tokenizer.json", "vocab.txt"]


def test_a_kill_at_any_moment_leaves_a_folder_that_the_same_command_fills(tmp_path, monkeypatch):
    for folder in kill_everywhere(monkeypatch, lambda number: tmp_path / str(number), fill):
        with suppress(InputError):  # it is whole, and some of its second names are still there
            fill(folder)
        assert [name for name in names_in(folder) if name[0] != "."] == ["config.json", "weights"]


CONFIG = InstanceConfig(max_seq_length=32, max_predictions_per_seq=5, dupe_factor=2)


def generate(folder: Path, vocab, overwrite: bool = False) -> None:
    """Datasets of two lengths, written as `generate` writes them."""
    identity = {"vocab_sha256": vocab.sha256, "documents": 7}
    targets = leave_out_finished(
        [Target(CONFIG.with_length(length), str(folder / str(length)), identity, "run 1") for length in (32, 64)]
    )
    for target in targets:
        check_output(target, overwrite)
    pools = Pools(train=1, eval=0)
    for target in targets:
        prepared = prepare_output(target, overwrite)
        pool = PackedPool.gather([], id_dtype(len(vocab)))
        list(ShardBuilder(vocab, prepared).build(0, pool, pools))
    for target in targets:
        write_manifest(target, vocab, pools, Counter(documents=0), {"inputs": [], "vocab_file": ""})
    for target in targets:
        Unfinished(target.output).remove()


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_generation_killed_at_any_moment_goes_on(tmp_path, monkeypatch, small_vocab, overwrite):
    generate(tmp_path / "expected", small_vocab)

    def new_folder(number: int) -> Path:
        folder = tmp_path / str(number)
        if overwrite:
            make_dataset(folder / "32", [["the cat sat on the mat"], ["a dog ran in the park"]], CONFIG, small_vocab)
        return folder

    for folder in kill_everywhere(monkeypatch, new_folder, lambda folder: generate(folder, small_vocab, overwrite)):
        if any(Unfinished(str(folder / name)).identity() for name in ("32", "64")) or not is_whole(folder):
            generate(folder, small_vocab, overwrite)
        assert files_below(folder) == files_below(tmp_path / "expected")


def test_a_shard_that_another_run_wrote_meanwhile_is_in_no_dataset(tmp_path, small_vocab):
    target, pools = Target(CONFIG, str(tmp_path), run="run 1"), Pools(train=1, eval=0)
    prepare_output(target, overwrite=False)
    pool = PackedPool.gather([], id_dtype(len(small_vocab)))
    first, *_ = ShardBuilder(small_vocab, target).build(0, pool, pools)
    with create_file(str(tmp_path / first.path)) as file:
        file.write(b"of another run")
    with pytest.raises(InputError, match=f"{first.path} has 14 bytes.*something else wrote to it meanwhile"):
        write_manifest(target, small_vocab, pools, Counter(documents=0))
    # Nor is what another run recorded taken for ours.
    prepare_output(replace(target, run="run 2"), overwrite=False)
    Unfinished(target.output).start({RUN_ID: "run 3", "random_seed": 1})
    assert Unfinished(target.output).check() == set()


def is_whole(folder: Path) -> bool:
    return all((folder / name / "dataset_info.json").exists() for name in ("32", "64"))


FOREIGN = {
    "run.json": '{"epochs": 3}',
    "rejected-00000.jsonl": '{"email": "a@b.c"}\n',
    "dataset_info.json": '{"builder_name": "parquet", "features": {}}',
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("options", [[], ["--overwrite"]])
def test_files_of_others_are_neither_replaced_nor_removed(tmp_path, corpus_file, small_vocab_file, name, options):
    output = tmp_path / "out"
    output.mkdir()
    (output / name).write_text(FOREIGN[name])
    arguments = ["generate", corpus_file, "--vocab-file", small_vocab_file, *SMALL, "--output", output, *options]
    assert f"{output / name} was not written by maskmill" in refuse(*arguments)
    assert files_below(output) == {name: FOREIGN[name].encode()}


def test_a_dataset_has_one_writer_at_a_time(tmp_path, corpus_file, small_vocab_file):
    arguments = ["generate", corpus_file, "--vocab-file", small_vocab_file, *SMALL, "--output", tmp_path / "out"]
    with claim_folder(tmp_path / "out"):
        for options in ([], ["--overwrite"]):
            assert f"another process is writing {tmp_path / 'out'}; wait until it ends" in refuse(*arguments, *options)
    assert not (tmp_path / "out").exists()


def test_an_overwriting_run_that_fails_leaves_the_dataset_and_its_list(tmp_path, small_vocab_file):
    good = ['{"text": "the cat sat. it ran."}', '{"text": "a dog ran. it sat."}', "{broken"]
    (tmp_path / "a.jsonl").write_text("\n".join(good))
    (tmp_path / "bad.jsonl").write_text("\n".join([*good, "{broken", "{broken"]))
    options = ["--vocab-file", small_vocab_file, *SMALL, "--output", tmp_path / "out"]
    run("generate", tmp_path / "a.jsonl", *options, "--max-rejected", 0.5)
    before = files_below(tmp_path / "out")
    assert "3 of 5 documents" in refuse("generate", tmp_path / "bad.jsonl", *options, "--overwrite")
    after = files_below(tmp_path / "out")
    assert after.pop(".rejected/rejected-00000.jsonl").count(b"malformed") == 3
    assert after == before
    assert said(validate(tmp_path / "out")) == []
    run("generate", tmp_path / "a.jsonl", *options, "--max-rejected", 0.5, "--overwrite")
    assert files_below(tmp_path / "out").keys() == before.keys()


def test_each_dataset_of_several_lengths_has_its_list(tmp_path, small_vocab_file):
    good = ['{"text": "the cat sat. it ran."}', '{"text": "a dog ran. it sat."}']
    options = [
        "--vocab-file",
        small_vocab_file,
        "--output",
        tmp_path / "out",
        "--max-rejected",
        0.5,
        "--dupe-factor",
        1,
    ]
    for lengths, broken in (((32, 64), ["{broken"]), ((48, 96), ["null", '{"x": 1}'])):
        (tmp_path / "a.jsonl").write_text("\n".join([*good, *broken]))
        run("generate", tmp_path / "a.jsonl", *options, *(part for n in lengths for part in ("--max-seq-length", n)))
    for length, lines in ((32, 1), (64, 1), (48, 2), (96, 2)):
        folder = tmp_path / "out" / f"seq{length}"
        assert len((folder / "rejected-00000.jsonl").read_text().splitlines()) == lines
        assert said(validate(folder)) == []
    assert names_in(tmp_path / "out") == ["seq32", "seq48", "seq64", "seq96"]
