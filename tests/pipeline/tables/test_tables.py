"""Tables of texts are read in order, row by row, whatever their format."""

import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maskmill.pipeline.reading import parquet
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.tables import rows
from maskmill.pipeline.tables.fields import Fields
from maskmill.pipeline.tables.rows import Row, list_table_parts, read_rows
from maskmill.tokenizer.errors import InputError

FIELDS = Fields("text", "other", "label")


def read(path, fields=FIELDS, named="auto"):
    return list(read_rows(FilePart(str(path)), fields, named))


def reasons(path, fields=FIELDS):
    return [(row.place, getattr(row, "reason", None)) for row in read(path, fields)]


TABLE = [
    {"text": 'He said "no".\nThen he left.', "other": "a, b", "label": "x"},
    {"text": "Zürich 北京", "other": "tab", "label": "y"},
]
EXPECTED = [Row(place, row["text"], row["other"], row["label"]) for place, row in enumerate(TABLE, 1)]


def write(folder, kind, table=TABLE):
    path = folder / f"table.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(table), path, row_group_size=1)
    else:
        path.write_text('id,label,text,other\n1,x,"He said ""no"".\nThen he left.","a, b"\n2,y,Zürich 北京,tab\n')
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path, kind):
    assert read(write(tmp_path, kind)) == EXPECTED
    assert read(write(tmp_path, kind), Fields("other")) == [Row(1, "a, b"), Row(2, "tab")]


def test_compression_and_a_byte_order_mark_do_not_matter(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + write(tmp_path, "csv").read_bytes()))
    assert read(path) == EXPECTED
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match=r"table.csv.gz is cut off or damaged"):
        read(path)


def test_in_tsv_a_quote_is_a_character(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text('label\ttext\tother\n1\t"Well\tso\n')
    assert read(path) == [Row(1, '"Well', "so", "1")]


def test_a_row_that_cannot_be_used_keeps_its_place_and_says_why(tmp_path):
    csv, jsonl = tmp_path / "a.csv", tmp_path / "a.jsonl"
    csv.write_bytes(b'text,other,label\na,b,c\na,b\n\n ,b,c\n"a"b,b,c\na\xff,b,c\na,b,\na,b,c\n')
    assert reasons(csv) == [
        (1, None), (2, "not as many fields as the first line"), (3, "field 'text' is empty"),
        (4, "malformed CSV (',' expected after '\"')"), (5, "invalid UTF-8"), (6, "field 'label' is empty"), (7, None),
    ]  # fmt: skip
    good = '{"text": "a", "other": "b", "label": true}'
    lines = [good, "{", "", '{"text": "a", "other": null, "label": 1}', '{"text": 1, "other": "b", "label": 1}',
             '{"text": "a", "label": 1}', '{"text": "a", "other": "b", "label": 1.5}']  # fmt: skip
    jsonl.write_text("\n".join(lines))
    assert read(jsonl)[0] == Row(1, "a", "b", "true")
    assert reasons(jsonl) == [
        (1, None), (2, "malformed JSON"), (4, "field 'other' is null"), (5, "field 'text' is no text"),
        (6, "no field 'other'"), (7, "field 'label' is no label"),
    ]  # fmt: skip


def test_a_quote_that_does_not_end_hides_no_rows(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('text,label\na,x\n"b,x\nc,y\nd,y\n')
    with pytest.raises(InputError, match=r"line 3, at byte 15, has a quote that does not end, so that other rows"):
        read(path, Fields())
    with pytest.raises(InputError, match=r"at byte 15"):
        list(list_table_parts(str(path), 1))


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("part_bytes", [1, 50, 300, 10_000])
def test_the_parts_of_a_table_hold_its_rows_once_and_in_order(tmp_path, kind, part_bytes):
    rng = random.Random(part_bytes)
    rows = [{"text": "wörd " * rng.randint(1, 9) + str(i), "label": str(rng.randint(1, 3))} for i in range(40)]
    path = tmp_path / f"table.{kind}"
    if kind in ("csv", "tsv"):
        if kind == "csv":
            rows = [{**row, "text": row["text"].replace(" ", rng.choice([" ", "\n", '"', ","]))} for row in rows]
        delimiter, quote = (",", '"') if kind == "csv" else ("\t", "")
        doubled = [row["text"].replace('"', '""') for row in rows]
        lines = [delimiter.join([f"{quote}{text}{quote}", row["label"]]) for text, row in zip(doubled, rows)]
        path.write_text("\n".join([f"text{delimiter}label", *lines, *[""] * rng.randint(0, 2)]))
    else:
        write(tmp_path, kind, rows)
    parts = list(list_table_parts(str(path), part_bytes))
    found = [row for part in parts for row in read_rows(part, Fields(label_field="label"))]
    assert [(row.text.strip(), row.label) for row in found] == [(row["text"].strip(), row["label"]) for row in rows]
    assert [part.number for part in parts] == list(range(len(parts)))
    assert len(parts) > 1 or part_bytes == 10_000


def test_what_is_no_such_table_is_one_sentence(tmp_path):
    path = write(tmp_path, "csv")
    for fields, sentence in (
        (Fields("body"), "has no column body; its first line has id, label, text, other"),
        (Fields("other", label_field="class"), "has no column class"),
    ):
        with pytest.raises(InputError, match=sentence):
            read(path, fields)
    with pytest.raises(InputError, match=r"column text is named twice"):
        Fields("text", label_field="text")
    with pytest.raises(InputError, match=r"does not tell its format by its name; say it with --input-format csv"):
        read(path.rename(tmp_path / "table.dat"))
    assert read(tmp_path / "table.dat", named="csv") == EXPECTED
    with pytest.raises(InputError, match=r"is not a Parquet file"):
        read(tmp_path / "table.dat", named="parquet")
    pq.write_table(pa.table({"text": ["a"], "label": [1.5]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"column label is double; expected text, or whole numbers"):
        read(tmp_path / "a.parquet", Fields(label_field="label"))
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cut.parquet is cut off or damaged"):
        read(tmp_path / "cut.parquet", Fields(label_field="label"))
    (tmp_path / "excel.csv").write_text("text,label\nsehr schön,gut\n", encoding="utf-16")
    with pytest.raises(InputError, match=r"excel.csv is no text \(it begins as UTF-16 does\); expected UTF-8"):
        read(tmp_path / "excel.csv", Fields())
    (tmp_path / "array.json").write_text(json.dumps(TABLE))
    with pytest.raises(InputError, match=r"array.json is one JSON array; expected an object in each line"):
        read(tmp_path / "array.json", Fields())
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match=r"has no column text; its first line has nothing"):
        read(tmp_path / "empty.csv", Fields())


def test_several_objects_in_a_json_line_are_refused(tmp_path):
    path, row = tmp_path / "a.jsonl", '{"text": "a"}'
    for two in (f"{row}{row}", f"{row}, {row}", f"{row}\r{row}\r"):
        path.write_text(f"{row}\n\n{two}\n{row}\n")
        with pytest.raises(InputError, match=r"a.jsonl: line 3 holds several JSON objects; expected one in each line"):
            read(path, Fields())
    path.write_text(f'{row}\n{row} x\n{{"text": {row}\n')
    assert reasons(path, Fields()) == [(1, None), (2, "malformed JSON"), (3, "malformed JSON")]


def test_a_field_that_is_a_deep_list_is_no_text(tmp_path):
    path = tmp_path / "a.jsonl"
    for depth, reason in ((900, "field 'text' is no text"), (100_000, "malformed JSON")):
        path.write_text('{"text": ' + "[" * depth + "]" * depth + "}\n")
        (row,) = read(path, Fields())
        assert row.reason == reason
        assert len(row.excerpt) <= 200


def test_a_table_of_many_columns_is_described_in_a_sentence(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(",".join(f"column{i}" for i in range(100_000)) + "\n")
    with pytest.raises(InputError, match=r"^.*its first line has column0, .*, column19 and 99,980 more$"):
        read(path, Fields())


def test_a_cell_of_parquet_and_a_json_line_have_a_size_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", 1000)
    path = tmp_path / "a.parquet"
    texts = pa.array(["a" * 900, "b" * 1001])
    for column in (texts, texts.dictionary_encode(), texts.cast(pa.string_view())):
        pq.write_table(pa.table({"text": column}), path)
        with pytest.raises(
            InputError, match=r"a.parquet has a text of 1,001 bytes behind row [01]; expected at most 1,0"
        ):
            read(path, Fields())
    (tmp_path / "a.jsonl").write_text('{"text": "' + "a" * 1001 + '"}\n{"text": "b"}\n')
    assert reasons(tmp_path / "a.jsonl", Fields()) == [(1, "more than 1,000 bytes"), (2, None)]
    monkeypatch.setattr(parquet, "MAX_TABLE_BYTES", 100)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(
        InputError, match=r"is Parquet within another compression and has more than 100 bytes .*; unpack it first"
    ):
        read(tmp_path / "a.parquet.gz", Fields(), "parquet")
