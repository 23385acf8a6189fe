"""Files are found, and read in parts that give the documents of the whole."""

import errno
import json
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskmill.pipeline.reading.documents import ReadOptions, Rejected
from maskmill.pipeline.reading.files import (
    FilePart,
    count_lines_before,
    group_parts,
    list_files,
    list_inputs,
    list_parts,
)
from maskmill.pipeline.reading.parts import read_documents, read_stream
from maskmill.pipeline.storage.storage import version_of, write_bytes
from maskmill.tokenizer.errors import InputError

lines = st.lists(st.sampled_from(["", "one", "two three", " ", "\u3000", "é", "\x85", "four\r", "{}"]), max_size=30)


def read_in_parts(path, part_bytes, options, block_bytes):
    documents = []
    for part in list_parts([str(path)], part_bytes):
        before = count_lines_before(part)
        with path.open("rb") as file:
            for document in read_stream(part, file, options, block_bytes=block_bytes):
                documents.append(replace(document, place=before + document.place))
    return documents


@given(lines=lines, end=st.sampled_from(["", "\n"]), part_bytes=st.integers(1, 40), block_bytes=st.integers(1, 40))
def test_parts_of_a_text_hold_the_documents_of_the_whole(tmp_path_factory, lines, end, part_bytes, block_bytes):
    path = tmp_path_factory.getbasetemp() / "parts.txt"
    path.write_bytes(("\n".join(lines) + end).encode())
    expected: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            expected[-1].append(line.strip())
        else:
            expected.append([])
    found = read_in_parts(path, part_bytes, ReadOptions(), block_bytes)
    split = [[line.strip() for line in document.text.split("\n") if line.strip()] for document in found]
    assert split == [document for document in expected if document]


@given(texts=st.lists(st.text(max_size=9), max_size=12), part_bytes=st.integers(1, 60), block_bytes=st.integers(1, 60))
def test_parts_of_json_lines_hold_the_documents_of_the_whole(tmp_path_factory, texts, part_bytes, block_bytes):
    path = tmp_path_factory.getbasetemp() / "parts.jsonl"
    path.write_bytes(b"\n".join(json.dumps({"text": text}).encode() for text in texts))
    found = read_in_parts(path, part_bytes, ReadOptions(), block_bytes)
    assert found == list(read_documents(FilePart(str(path)), ReadOptions()))
    assert len(found) >= len(texts)


@given(lines=lines, end=st.sampled_from(["", "\n"]), part_bytes=st.integers(1, 40), block_bytes=st.integers(1, 40))
def test_a_document_a_line_is_the_same_in_parts_and_named_by_its_line(
    tmp_path_factory, lines, end, part_bytes, block_bytes
):
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    path.write_bytes(("\n".join(lines) + end).encode())
    found = read_in_parts(path, part_bytes, ReadOptions("lines"), block_bytes)
    expected = [(place, line.strip()) for place, line in enumerate("\n".join(lines).split("\n"), 1) if line.strip()]
    assert [(document.place, document.text) for document in found] == expected


@given(block_bytes=st.integers(1, 99), part_bytes=st.integers(1, 99))
def test_a_rejected_document_is_named_by_its_line_in_the_file(tmp_path_factory, block_bytes, part_bytes):
    path = tmp_path_factory.getbasetemp() / "broken.txt"
    path.write_bytes(b"good\nlines\n\n\nb\xffd\nand\n \ngood\n\nb\xffd")
    found = read_in_parts(path, part_bytes, ReadOptions(), block_bytes)
    assert [document.place for document in found if isinstance(document, Rejected)] == [5, 10]
    path = tmp_path_factory.getbasetemp() / "broken.jsonl"
    path.write_bytes(b'{"text": "good"}\n\n{broken\n{"text": "good"}\n{}\n')
    found = read_in_parts(path, part_bytes, ReadOptions(), block_bytes)
    assert [document.place for document in found if isinstance(document, Rejected)] == [3, 5]


def test_only_large_plain_files_are_cut(tmp_path):
    (tmp_path / "a.txt").write_text("x" * 25)
    (tmp_path / "b.gz").write_bytes(b"\x1f\x8b" + b"x" * 25)
    a, b = str(tmp_path / "a.txt"), str(tmp_path / "b.gz")
    va, vb = version_of(a), version_of(b)
    parts = [FilePart(a, 0, 10, 0, va, 10), FilePart(a, 10, 20, 1, va, 10), FilePart(a, 20, 30, 2, va, 5)]
    parts.append(FilePart(b, 0, None, 3, vb, 27))
    assert list(list_parts([str(tmp_path)], 10)) == parts
    assert list(list_parts([str(tmp_path)], 25)) == [FilePart(a, 0, None, 0, va, 25), FilePart(b, 0, None, 1, vb, 27)]
    assert list(group_parts(parts, 20)) == [parts[:2], parts[2:3], parts[3:]]
    assert list(group_parts(parts, 32)) == [parts[:3], parts[3:]]


def test_inputs_are_files_folders_and_patterns(tmp_path):
    for name in ("a.txt", "b/c.txt", "b/.hidden", "b/.git/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    everything = [f"{tmp_path}/a.txt", f"{tmp_path}/b/c.txt"]
    assert list_files([str(tmp_path)]) == everything
    assert list_files([f"{tmp_path}/**/*.txt"]) == everything
    assert list_files([str(tmp_path / "b"), f"{tmp_path}/b/../b/c.txt", f"{tmp_path}/a.txt"]) == everything


@pytest.mark.parametrize(
    ("names", "left_out"),
    [
        (["README.md", "dataset_infos.json", "data/train.parquet"], ["README.md", "dataset_infos.json"]),
        (["README.md", "LICENSE", "data/train.txt"], ["LICENSE", "README.md"]),
        (["LICENSE.txt", "CITATION.cff", "wiki.py", "a.jsonl.zst"], ["CITATION.cff", "LICENSE.txt", "wiki.py"]),
        (["LICENSE", "README", "a.txt"], []),
    ],
)
def test_files_that_describe_a_repository_are_left_out_of_its_folder(tmp_path, names, left_out):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    for inputs in ([tmp_path], [tmp_path / "**"]):
        listing = list_inputs(map(str, inputs))
        assert listing.left_out == [str(tmp_path / name) for name in left_out]
        assert listing.files == sorted(str(tmp_path / name) for name in names if name not in left_out)
    named = str(tmp_path / names[0])
    for inputs in ([named, str(tmp_path)], [str(tmp_path), named]):
        assert named in list_files(inputs)


@pytest.mark.parametrize("name", ["nowhere.txt", "*.nothing", "empty"])
def test_an_input_that_names_no_file_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="names no file"):
        list_files([str(tmp_path / name)])


def test_links_are_followed_once_and_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("x")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    (tmp_path / "out" / "back").symlink_to(tmp_path / "in")
    assert list_files([str(tmp_path / "in")]) == [f"{tmp_path}/in/link/a.txt"]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is a pipe or a device; it is read more than once"):
        list_files([str(tmp_path / "pipe")])


@pytest.mark.parametrize(("name", "way_out"), [("maskmill-1/result", "set TMPDIR"), ("result", "give another output")])
def test_a_full_disk_is_told_from_a_full_folder_for_temporary_files(tmp_path, monkeypatch, name, way_out):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(InputError, match=rf"{name} cannot be written \(No space left on device\); .*{way_out}"):
        write_bytes(tmp_path / name, b"x")
