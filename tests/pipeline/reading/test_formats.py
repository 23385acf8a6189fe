"""Every format and compression gives the same documents; what is damaged or wrong is named."""

import bz2
import gzip
import html
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from places import FIELD

from maskmill.pipeline.reading.documents import ReadOptions, Rejected
from maskmill.pipeline.reading.files import FilePart, list_parts
from maskmill.pipeline.reading.parts import read_documents
from maskmill.tokenizer.errors import InputError

TEXTS = ["One. Two.", "Drei & vier!\n\nFünf.", "六。七。"]
COMPRESSORS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
}


def read(path, **options):
    return list(read_documents(FilePart(str(path)), ReadOptions(**options)))


def reasons(path, **options):
    return [(document.place, document.reason) for document in read(path, **options) if isinstance(document, Rejected)]


def jsonl(texts):
    return "".join(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(texts)).encode()


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compression_is_recognised_by_content_and_damage_is_named(tmp_path, suffix):
    data = jsonl(TEXTS * 1000)
    packed = COMPRESSORS[suffix](data) + COMPRESSORS[suffix](jsonl(["last"]))  # two members, as cat makes them
    for name in (f"a.jsonl{suffix}", "no_name_that_helps"):
        (tmp_path / name).write_bytes(packed)
        assert [document.text for document in read(tmp_path / name)] == [*TEXTS * 1000, "last"]
    for keep in (7, len(packed) // 3, len(packed) - 1):
        (tmp_path / f"cut.jsonl{suffix}").write_bytes(packed[:keep])
        with pytest.raises(InputError, match=rf"cut\.jsonl\{suffix} is cut off or damaged near byte .* of {keep:,} "):
            read(tmp_path / f"cut.jsonl{suffix}")


@pytest.mark.parametrize(
    ("suffix", "between"), [(".xz", b"\0" * 4), (".bz2", b""), (".zst", b"\x50\x2a\x4d\x18\2\0\0\0ab")]
)
def test_files_of_several_streams_are_read_to_their_end(tmp_path, suffix, between):
    streams = [COMPRESSORS[suffix](jsonl([text] * 500)) for text in TEXTS]
    whole = (between if suffix == ".zst" else b"") + between.join(streams)
    (tmp_path / f"a.jsonl{suffix}").write_bytes(whole)
    assert len(read(tmp_path / f"a.jsonl{suffix}")) == 1500
    damaged = bytearray(whole)
    damaged[whole.index(streams[1]) + 1] ^= 0xFF
    (tmp_path / f"a.jsonl{suffix}").write_bytes(damaged)
    with pytest.raises(InputError, match="is cut off or damaged"):
        read(tmp_path / f"a.jsonl{suffix}")


def test_a_table_is_read_compressed_too(tmp_path):
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "a.parquet")
    for suffix, compress in COMPRESSORS.items():
        (tmp_path / f"a.parquet{suffix}").write_bytes(compress((tmp_path / "a.parquet").read_bytes()))
        assert [document.text for document in read(tmp_path / f"a.parquet{suffix}")] == TEXTS


def test_ids_are_texts_whatever_holds_them(tmp_path):
    ids = [1, 10**25, 10**25 + 1, "a", None]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"id": id, "text": "x"}) + "\n" for id in ids))
    found = [document.id for document in read(tmp_path / "a.jsonl", id_field="id")]
    assert found == ["1", str(10**25), str(10**25 + 1), "a", None]
    assert [document.id for document in read(tmp_path / "a.jsonl")] == [None] * 5
    for values in (pa.array([1, None]), pa.array(["1", None]), pa.array([1, None], pa.timestamp("ns"))):
        pq.write_table(pa.table({"id": values, "text": ["x", "y"]}), tmp_path / "a.parquet")
        first, second = (document.id for document in read(tmp_path / "a.parquet", id_field="id"))
        assert first.startswith("19") or first == "1"
        assert second is None


def test_wiki_extractors_forms_give_the_same_documents(tmp_path):
    docs = "".join(
        f'<doc id="{n}" url="https://x/?curid={n}" title="Title &amp; {n}">\nTitle & {n}\n\n{text}\n\n</doc>\n'
        for n, text in enumerate(TEXTS)
    )
    (tmp_path / "wiki_00").write_text(docs)
    (tmp_path / "wiki_01").write_bytes(jsonl(TEXTS))
    for name in ("wiki_00", "wiki_01"):
        found = read(tmp_path / name, id_field="id")
        assert [document.text.strip() for document in found] == TEXTS
        assert [document.id for document in found] == ["0", "1", "2"]
        assert not any(document.lines_are_sentences for document in found)
    for part_bytes in (1, 50, 100):
        parts = list_parts([str(tmp_path / "wiki_00")], part_bytes)
        found = [document for part in parts for document in read_documents(part, ReadOptions())]
        assert [document.text.strip() for document in found] == TEXTS
    (tmp_path / "wiki_bom").write_bytes(b"\xef\xbb\xbf" + docs.encode())
    assert [document.text.strip() for document in read(tmp_path / "wiki_bom")] == TEXTS
    (tmp_path / "wiki_odd").write_text(f'before\n<doc id="7">\nno title\n</doc>\n{docs}')
    assert [document.text.strip() for document in read(tmp_path / "wiki_odd", input_format="wiki")[1:]] == [
        "no title",
        *TEXTS,
    ]
    assert reasons(tmp_path / "wiki_odd", input_format="wiki") == [(1, "text outside of <doc>")]
    (tmp_path / "wiki_02").write_text(f'{docs}between\n<doc id="7" url="" title="x">\nx\n\n</doc>\n' + docs[:70])
    assert reasons(tmp_path / "wiki_02") == [
        (21, "text outside of <doc>"),
        (22, "empty text"),
        (26, "<doc> without </doc>"),
    ]


@pytest.mark.parametrize("attributes", ["{}", 'id="5" {}', 'id="5" revid="3" url="u" {}', 'id="5" {} revision="7"'])
@pytest.mark.parametrize(
    ("title", "line"),
    [('"Heroes"', '"Heroes"'), ("A & B", "A &amp; B"), ("A &amp; B", "A & B"), ("a > b", "a &gt; b"), ("x", " x ")],
)
def test_the_line_of_a_wiki_title_is_left_out_whatever_is_in_it(tmp_path, attributes, title, line):
    header = attributes.format(f'title="{title}"')
    (tmp_path / "wiki_00").write_text(f"<doc {header}>\n{line}\n\nx\n{title}\n\n</doc>\n")
    assert [document.text.strip() for document in read(tmp_path / "wiki_00")] == [f"x\n{html.unescape(title)}"]


def test_a_line_that_looks_like_a_wiki_header_is_text(tmp_path):
    texts = [document.text for document in read(FIELD / "cirrus.txt")]
    assert texts[0].strip() == "Barle is a town on the river Osse. It has a mill."
    assert '\n<doc id="1" title="x">\nAnd here the article goes on.' in texts[1]
    parts = list_parts([str(FIELD / "cirrus.txt")], 20)
    assert [document.text for part in parts for document in read_documents(part, ReadOptions())] == texts


def test_wiki_extractors_entities_are_decoded_once(tmp_path):
    text, meant = "R&D &amp; AT&amp;T &lt;b&gt; &amp;lt; &#39;&ltd", "R&D & AT&T <b> &lt; '&ltd"
    (tmp_path / "wiki_00").write_text(f'<doc id="1" url="" title="t">\nt\n\n{text}\n\n</doc>\n')
    (tmp_path / "wiki_01").write_text(json.dumps({"id": "1", "revid": "2", "url": "", "title": "t", "text": text}))
    (tmp_path / "other.jsonl").write_text(json.dumps({"text": text}))
    assert read(tmp_path / "wiki_00")[0].text.strip() == read(tmp_path / "wiki_01")[0].text == meant
    assert read(tmp_path / "other.jsonl")[0].text == text


def test_a_wiki_header_of_any_length_is_read_at_once(tmp_path):
    (tmp_path / "wiki_00").write_text("<doc " + ' title="' * 300_000 + ">\nx\n</doc>\n")
    assert [document.text for document in read(tmp_path / "wiki_00")] == ["x"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_parquet_is_read_by_row_groups(tmp_path, kind):
    texts = [*TEXTS, None, "five"] * 100
    table = pa.table({"number": range(len(texts)), "text": pa.array(texts, pa.string()).cast(kind)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    found = read(tmp_path / "a.parquet", id_field="number")
    assert [None if isinstance(document, Rejected) else document.text for document in found] == texts
    assert reasons(tmp_path / "a.parquet")[:2] == [(4, "field 'text' is null"), (9, "field 'text' is null")]
    assert found[1].id == "1"
    parts = list(list_parts([str(tmp_path / "a.parquet")], 1000))
    assert len(parts) > 3
    in_parts = [document for part in parts for document in read_documents(part, ReadOptions(id_field="number"))]
    assert in_parts == found


def test_a_field_of_a_field_is_found(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": {"b": "in a", "c": 7}, "a.c": "dotted"}\n{"a": "flat"}\n')
    assert [document.text for document in read(tmp_path / "a.jsonl", text_field="a.b")[:1]] == ["in a"]
    assert reasons(tmp_path / "a.jsonl", text_field="a.b") == [(2, "no field 'a.b'")]
    assert [document.text for document in read(tmp_path / "a.jsonl", text_field="a.c")[:1]] == ["dotted"]
    pq.write_table(pa.table({"a": [{"b": "in a"}]}), tmp_path / "a.parquet")
    assert [document.text for document in read(tmp_path / "a.parquet", text_field="a.b")] == ["in a"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"text_field": "body"}, r"a\.parquet has no column body; it has text, number \(int64\), "),
        ({"text_field": "number"}, r"a\.parquet: column number is int64; expected text"),
        ({"text_field": "twice"}, r"a\.parquet has several columns twice"),
        ({"id_field": "list"}, r"a\.parquet: column list is list<.*>; expected single values"),
        ({"id_field": "key"}, r"a\.parquet has no column key; it has text"),
        ({"input_format": "text"}, r"a\.parquet is no text"),
    ],
)
def test_a_wrong_column_is_refused_with_those_that_are_there(tmp_path, options, sentence):
    columns = [pa.array(["x"]), pa.array([1]), pa.array([[1]]), pa.array(["x"]), pa.array(["x"])]
    pq.write_table(pa.table(columns, ["text", "number", "list", "twice", "twice"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=sentence):
        read(tmp_path / "a.parquet", **options)


def test_what_is_no_table_or_no_lines_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('[\n{"text": "x"}\n]')
    with pytest.raises(InputError, match=r"a\.json is one JSON array; expected an object in each line"):
        read(tmp_path / "a.json")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InputError, match=r"a\.txt is not a Parquet file"):
        read(tmp_path / "a.txt", input_format="parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"cut\.parquet is cut off or damaged"):
        read(tmp_path / "cut.parquet")


def test_a_document_a_line_where_that_is_asked_for(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\n \xc2\xa0\n  two. three\nb\xffd\n")
    for options in ({"input_format": "lines"}, {"plain_text": "lines"}):
        one, two, bad = read(tmp_path / "a.txt", **options)
        assert (one.text, one.place, one.repairs) == ("one", 1, ("byte order mark removed",))
        assert (two.text, two.place, two.lines_are_sentences) == ("two. three", 4, False)
        assert (bad.place, bad.reason) == (5, "invalid UTF-8")
    assert len(read(tmp_path / "a.txt")) == 2  # BERT's format
    (tmp_path / "a.jsonl").write_bytes(jsonl(["one"]))
    assert [document.text for document in read(tmp_path / "a.jsonl", plain_text="lines")] == ["one"]


def test_dirt_is_repaired_and_told(tmp_path):
    text = "\ufeffone\r\ntwo\r\n\r\nth\0ree\rfour\n\n\xa0\n\u3000five"
    (tmp_path / "a.txt").write_bytes(text.encode())
    first, second, third = read(tmp_path / "a.txt")
    assert (first.text, first.repairs) == ("one\ntwo", ("byte order mark removed",))
    assert second.text == "three\nfour"
    assert second.repairs == ("NUL characters removed", "carriage returns read as line ends")
    assert (third.text, third.repairs) == ("\u3000five", ())


def test_a_document_without_end_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("maskmill.pipeline.reading.documents.MAX_CHARACTERS", 1000)
    monkeypatch.setattr("maskmill.pipeline.reading.documents.CUT_WINDOW", 100)
    text = "many words and no end " * 500
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "a.jsonl").write_bytes(jsonl([text]))
    for name in ("a.txt", "a.jsonl"):
        found = read(tmp_path / name)
        assert len(found) == 12
        assert " ".join(document.text for document in found) == text.strip()
        assert all(document.repairs == ("cut after 1,000 characters",) for document in found)


def zstd_frame(window_log: int) -> bytes:
    """A line as a frame of zstd, made with a window of so many bits."""
    return b"\x28\xb5\x2f\xfd\0" + bytes([window_log - 10 << 3]) + (5 << 3 | 1).to_bytes(3, "little") + b"text\n"


def test_a_file_that_takes_much_memory_to_unpack_is_not_called_damaged(tmp_path, monkeypatch):
    (tmp_path / "a.zst").write_bytes(zstd_frame(27))
    assert [document.text for document in read(tmp_path / "a.zst")] == ["text"]
    (tmp_path / "a.zst").write_bytes(zstd_frame(31))
    monkeypatch.setattr("maskmill.pipeline.reading.compression.XZ_MEMORY", 1 << 16)
    (tmp_path / "a.xz").write_bytes(lzma.compress(b"text\n"))
    for name in ("a.zst", "a.xz"):
        with pytest.raises(InputError, match=rf"{name} was compressed so that .* much memory .*; compress it again"):
            read(tmp_path / name)


def test_want_of_memory_is_one_sentence(tmp_path, monkeypatch):
    def fail(*_):
        raise MemoryError
        yield

    (tmp_path / "a.txt").write_text("text")
    monkeypatch.setattr("maskmill.pipeline.reading.parts.read_text", fail)
    with pytest.raises(InputError, match=r"a\.txt: memory ran out .* smaller --max-document-bytes than 100,000,000"):
        read(tmp_path / "a.txt")


def test_a_parquet_file_within_another_compression_has_a_limit(tmp_path, monkeypatch):
    pq.write_table(pa.table({"text": ["x"] * 5000}), tmp_path / "a.parquet", compression="none")
    (tmp_path / "b.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    monkeypatch.setattr("maskmill.pipeline.reading.parquet.MAX_TABLE_BYTES", 200)
    with pytest.raises(InputError, match=r"b\.gz is Parquet within another compression and has more than 200 bytes"):
        read(tmp_path / "b.gz")
    assert len(read(tmp_path / "a.parquet")) == 5000


def test_rows_that_are_large_are_read_a_few_at_a_time(tmp_path, monkeypatch):
    texts = [letter * 1000 for letter in "abcdefgh"]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", use_dictionary=False)
    monkeypatch.setattr("maskmill.pipeline.reading.parquet.BATCH_BYTES", 4000)
    seen = []
    monkeypatch.setattr(
        "maskmill.pipeline.reading.formats.decode_strings",
        lambda column: seen.append(len(column)) or column.to_pylist(),
    )
    assert [document.text for document in read(tmp_path / "a.parquet")] == texts
    assert 1 < max(seen) < len(texts)
