"""Files are found and read as documents; what cannot be read is rejected or refused by name."""

import bz2
import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maskmill.pipeline.reading.documents import Document, ReadOptions, Rejected
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.reading.parts import read_documents, read_stream
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.tokenizer.errors import InputError

TEXT = "First line.\nSecond line.\n\nAnother document.\n \u3000\nThe last."


def read(path, **options):
    return list(read_documents(FilePart(str(path)), ReadOptions(**options)))


def texts(path, **options):
    return [document.text.split("\n") for document in read(path, **options)]


def test_blank_lines_separate_documents(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    documents = read(tmp_path / "a.txt")
    assert [split_sentences(document, ReadOptions()) for document in documents] == [
        ["First line.", "Second line."],
        ["Another document."],
        ["The last."],
    ]


@pytest.mark.parametrize("blank", ["", " \t", "\xa0", "\u3000", "\x1c"])
def test_a_line_of_blanks_as_python_has_them_ends_a_document(tmp_path, blank):
    (tmp_path / "a.txt").write_text(f"one\n{blank}\ntwo")
    assert texts(tmp_path / "a.txt") == [["one"], ["two"]]


@pytest.mark.parametrize("sign", ["\u200b", "\ufeff"])
def test_a_line_of_signs_without_width_is_a_line(tmp_path, sign):
    (tmp_path / "a.txt").write_text(f"one\n{sign}\ntwo")
    assert texts(tmp_path / "a.txt") == [["one", sign, "two"]]


def test_the_end_of_a_file_ends_a_document(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / "b.txt").write_text("three\n")
    assert texts(tmp_path / "a.txt") + texts(tmp_path / "b.txt") == [["one", "two"], ["three"]]


def test_unicode_line_separators_do_not_end_a_line(tmp_path):
    (tmp_path / "a.txt").write_text("one\u2028still one\x85and on\r\ntwo\n", newline="")
    (document,) = read(tmp_path / "a.txt")
    assert split_sentences(document, ReadOptions()) == ["one\u2028still one\x85and on", "two"]


def test_gzip_is_recognised_by_content(tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b").write_bytes(gzip.compress(TEXT.encode()))
    assert texts(tmp_path / "a.txt") == texts(tmp_path / "b")


def test_jsonl_is_recognised_by_name_or_content(tmp_path):
    line = json.dumps({"id": 1, "text": "A text. Of two sentences.\n\nTwo paragraphs"})
    for name in ("a.jsonl", "a.json", "data"):
        (tmp_path / name).write_text(line + "\n\n" + line + "\n")
        first, second = read(tmp_path / name)
        assert first.text == second.text == json.loads(line)["text"]
        assert split_sentences(first, ReadOptions()) == ["A text.", "Of two sentences.", "Two paragraphs"]


def test_a_named_format_decides(tmp_path):
    (tmp_path / "a.txt").write_text('{"body": "x y"}\n')
    assert texts(tmp_path / "a.txt") == [['{"body": "x y"}']]
    assert texts(tmp_path / "a.txt", input_format="jsonl", text_field="body") == [["x y"]]


def test_sentences_are_split_as_asked():
    raw = Document("One. Two.\nThree.", lines_are_sentences=False)
    lines = Document("One. Two.\nThree.", lines_are_sentences=True)
    assert split_sentences(raw, ReadOptions()) == ["One.", "Two.", "Three."]
    assert split_sentences(lines, ReadOptions()) == ["One. Two.", "Three."]


def test_broken_documents_are_rejected_with_a_reason(tmp_path):
    nested = '{"text": ' + "[" * 200_000
    broken = ["{broken", nested, '{"other": 1}', '{"text": 7}', '["list"]', '{"text": "\\ud800"}']
    (tmp_path / "a.jsonl").write_text("\n".join([*broken, '{"text": "good"}', '{"text": " "}']))
    found = read(tmp_path / "a.jsonl")
    assert [document.reason for document in found if isinstance(document, Rejected)] == [
        "malformed JSON",
        "malformed JSON",
        "no field 'text'",
        "field 'text' is no text",
        "no field 'text'",
        "invalid UTF-8",
        "empty text",
    ]
    assert [document.text for document in found if isinstance(document, Document)] == ["good"]


def test_invalid_utf8_sets_only_its_document_aside(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"good\n\nb\xffd\nmore\n\nalso good\n")
    first, second, third = read(tmp_path / "a.txt")
    assert isinstance(first, Document)
    assert second == Rejected(3, "invalid UTF-8", "b?d\nmore")
    assert isinstance(third, Document)


@pytest.mark.parametrize("keep", [20, 300, -4])
def test_a_cut_gzip_file_is_refused_by_name(tmp_path, keep):
    lines = "\n".join(f"line {i * 7919 % 1000}" for i in range(2000))
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(lines.encode())[:keep])
    with pytest.raises(InputError, match=r"a\.txt\.gz is cut off or damaged near byte"):
        read(tmp_path / "a.txt.gz")


def test_an_empty_file_holds_no_document(tmp_path):
    for name in ("a.txt", "a.jsonl", "a"):
        (tmp_path / name).write_bytes(b"")
        assert read(tmp_path / name) == []


@pytest.mark.parametrize(
    "content", ["text".encode("utf-16"), "中文".encode("utf-16"), b"\0\0\0\1", b"%PDF-1.4\n1 0 obj", b"PK\3\4 a zip"]
)
def test_a_binary_file_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.txt is no text"):
        read(tmp_path / "a.txt")


def test_an_unreadable_file_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)


def long_ones(tmp_path):
    """Files of a short, a long and a short document in every format."""
    long, short = "long words " * 1000, ["one", "two"]
    texts = [short[0], long, short[1]]
    (tmp_path / "a.txt").write_text("\n\n".join(texts))
    (tmp_path / "b.txt").write_text("\n\n".join([short[0], long.replace(" ", "\n"), short[1]]))
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "d").write_text("".join(f'<doc id="1" url="" title="">\n{text}\n</doc>\n' for text in texts))
    pq.write_table(pa.table({"text": texts}), tmp_path / "e.parquet")
    return sorted(tmp_path.iterdir())


@pytest.mark.parametrize("block_bytes", [64, 4096, 1 << 20])
def test_a_long_document_is_rejected_and_its_neighbours_are_read(tmp_path, block_bytes):
    for path in long_ones(tmp_path):
        with open(path, "rb") as file:
            options = ReadOptions(max_document_bytes=1000)
            found = list(read_stream(FilePart(str(path)), file, options, block_bytes=block_bytes))
        first, long, last = found
        assert (first.text.strip(), last.text.strip()) == ("one", "two")
        assert long.reason == "longer than 1,000 bytes"
        assert long.excerpt.startswith(("long", '{"text"'))
        places = [1, 2, 3] if path.suffix in (".jsonl", ".parquet") else None
        assert places is None or [document.place for document in found] == places


@pytest.mark.parametrize(("longest", "kept"), [(300, 1), (299, 0)])
def test_the_limit_is_in_bytes_of_utf8(tmp_path, longest, kept):
    (tmp_path / "a.txt").write_text("字" * 100)
    pq.write_table(pa.table({"text": ["字" * 100]}), tmp_path / "a.parquet")
    for name in ("a.txt", "a.parquet"):
        found = read(tmp_path / name, max_document_bytes=longest)
        assert [isinstance(document, Document) for document in found] == [bool(kept)]


def test_a_document_that_memory_has_no_room_for_ends_the_run(tmp_path):
    for path in long_ones(tmp_path):
        with pytest.raises(InputError, match=rf"{path.name}: a document is longer than 1,000 bytes, .*--memory-limit"):
            read(path, document_room=1000)


def test_a_line_without_end_is_not_held(tmp_path):
    line = b'{"text": "' + b"x" * 50_000_000
    (tmp_path / "a.jsonl.bz2").write_bytes(bz2.compress(line + b'"}\n{"text": "one"}\n'))
    tracemalloc.start()
    long, one = read(tmp_path / "a.jsonl.bz2", max_document_bytes=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (long.reason, one.text) == ("longer than 1,000,000 bytes", "one")
    assert peak < 20_000_000


@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_below_one_byte_is_refused(value):
    with pytest.raises(InputError, match=f"max_document_bytes is {value}; expected 1 or more"):
        ReadOptions(max_document_bytes=value)


@pytest.mark.parametrize("depth", [10, 1000, 1020, 5000])
def test_lists_in_lists_are_no_text_and_no_ids(tmp_path, depth):
    nested = "[" * depth + "]" * depth
    lines = [
        f'{{"text": {nested}}}',
        f'{{"text": "one", "id": {nested}}}',
        f'{{"text": "two", "id": 1.5, "a": {nested}}}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, '{"text": "three"}']))
    *nested, last = read(tmp_path / "a.jsonl", id_field="id")
    assert nested[0].reason in ("field 'text' is no text", "malformed JSON")
    assert last.text == "three"
