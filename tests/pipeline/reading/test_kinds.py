"""Files that are no documents are refused by name and by content; plain text never is."""

import gzip
import io
import struct
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from places import FIELD

from maskmill.pipeline.reading.documents import Document, ReadOptions
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.reading.kinds import KINDS
from maskmill.pipeline.reading.languages import LANGUAGES
from maskmill.pipeline.reading.parts import read_documents
from maskmill.tokenizer.errors import InputError

MARKUP = {
    "a web archive": [(FIELD / "cc.warc.wet.gz").read_bytes(), b"WARC/1.0\r\nWARC-Type: warcinfo\r\n"],
    "a dump of MediaWiki": [
        b'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11">\n',
        b"<?xml version='1.0' encoding='utf-8'?>\n<mediawiki>\n  <siteinfo>",
    ],
    "HTML": [
        b"<!DOCTYPE html>\n<html>",
        b"\xef\xbb\xbf\n <HTML lang=en><head>",
        b"<!-- made by hand -->\n<!doctype html><body>",
        b"<p>One.</p>\n<p>Two.</p>\n<p>Three.</p>\n",
    ],
    "XML": [b'<?xml version="1.0"?><TEI><text>'],
    "subtitles": [(FIELD / "film.srt").read_bytes(), b"WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n"],
    "a table": [
        (FIELD / "reviews.csv").read_bytes(),
        b'id;Review Text;label\r\n1;"One;\r\n two";a\r\n2;Three;b\r\n',
        b"sentence\tlabel\nOne two.\t1\nThree.\t0\n",
        b"gj04\t1\t\tThe sailors rode.\n" * 6,
        b'"3","Wall St. Bears","Short-sellers, he said."\n' * 4,
    ],
    "LaTeX": [b"% a comment\n\n\\documentclass{article}\n\\begin{document}"],
    "Markdown": [b"---\nlicense: mit\n---\n\n# Dataset card\n"],
    "markup": [b"{\\rtf1\\ansi Text.}"],
    "source code": [b"#!/usr/bin/env python\nprint()\n", b"<?php echo 1;"],
}

PLAIN = [
    "{Once upon a time} there was a mill.\nIt burned.\n",
    "<Enter Hamlet>\nTo be, or not to be.\nThat is the question.\n",
    "Come in, he said.\nNo, she said.\nWell, he said.\nGo, then.\nYes, I go.\n",
    "Call me Ishmael, please,\n\nhe said, and went.\n",
    '"Yes," he said. "No," she said.\n"Well," he said.\n"Go," she said.\n',
    "1\nChapter one.\n\n2\nChapter two.\n",
    "\tA paragraph.\n\tAnother one.\n\tA third.\n\tA fourth.\n\tA fifth.\n",
    "CONTENTS\n\nOne\t1\nTwo\t2\nThree\t3\nFour\t4\nFive\t5\n",
    "[Illustration: the mill]\n\nIt burned.\n",
    "# The mill\nIt burned.\n",
    "--- \n\nThe mill.\n",
    "ORCHARDS burn.\nRIFF raff.\nID3 tags.\n",
    "床前明月光,疑是地上霜。\n举头望明月,低头思故乡。\n春眠不觉晓,处处闻啼鸟。\n",
]


def read(path, **options):
    return list(read_documents(FilePart(str(path)), ReadOptions(**options)))


@pytest.mark.parametrize(("what", "content"), [(what, one) for what, some in MARKUP.items() for one in some])
def test_markup_is_refused_by_its_content_and_read_as_text_where_that_is_asked_for(tmp_path, what, content):
    plain = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    for name, data in (("a", plain), ("a.txt", plain), ("b.gz", gzip.compress(plain))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=rf"{name} is {what} by its content, .* --input-format text or lines "):
            read(tmp_path / name)
        assert read(tmp_path / name, input_format="text")


@pytest.mark.parametrize(
    "name", ["a.csv", "a.TSV.gz", "a.srt", "a.html.zst", "a.md", "a.warc.wet.gz", "a.py", "a.ipynb"]
)
def test_markup_is_refused_by_its_name(tmp_path, name):
    (tmp_path / name).write_text("Plain text.\n")
    with pytest.raises(InputError, match=rf"{name} is .* by its name, which is not read; .*--input-format text"):
        read(tmp_path / name)
    assert read(tmp_path / name, input_format="lines")


def binaries():
    archive, table, array, packed = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"))
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("a.txt", "One.")
    feather.write_feather(pa.table({"text": ["One."]}), table)
    np.save(array, np.arange(3))
    text = b"Words of an example. " * 50
    return {
        "tar": archive.getvalue(),
        "zip": packed.getvalue(),
        "arrow": table.getvalue(),
        "npy": array.getvalue(),
        "tfrecord": struct.pack("<QI", len(text), 1234) + text + b"abcd",
        "sqlite": b"SQLite format 3\0\x10\0\1\1",
        "pdf": b"%PDF-1.4\n1 0 obj",
        "lz4": b'\x04"M\x18\x64\x40',
        "png": b"\x89PNG\r\n\x1a\n",
        "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n",
    }


@pytest.mark.parametrize(("kind", "content"), binaries().items())
def test_what_is_no_text_is_refused_whatever_is_asked_for(tmp_path, kind, content):
    for name, data in (("a.txt", content), ("a.parquet", content), ("b.xz.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        for input_format in ("auto", "text", "jsonl", "lines"):
            with pytest.raises(InputError, match=f"{name} is no text but .*, by its content; "):
                read(tmp_path / name, input_format=input_format)


@pytest.mark.parametrize("text", PLAIN)
@pytest.mark.parametrize("name", ["novel", "novel.txt", "corpus.pl", "part.en"])
def test_plain_text_is_never_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert all(isinstance(document, Document) and document.lines_are_sentences for document in read(tmp_path / name))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a"])
@pytest.mark.parametrize(
    "content", ['{\n  "text": "One."\n}\n', '{"a": {"b": 1},\n "text": "One."}\n', '{"cells": [\n 1]}', '[{"text": 1}]']
)
def test_json_that_is_not_one_object_a_line_is_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=r"is one JSON array; .* jq|has a JSON object over several lines; .* jq -c"):
        read(tmp_path / name)


def test_a_parquet_name_without_parquet_in_it_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_text("Text.\n")
    with pytest.raises(InputError, match=r"a\.parquet is not a Parquet file, though its name says so"):
        read(tmp_path / "a.parquet")


def test_no_code_of_a_language_is_a_kind():
    assert not LANGUAGES & {suffix for kind in KINDS for suffix in kind.suffixes.split()}
