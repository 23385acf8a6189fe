"""CSV is read as it was written, whoever wrote it; and no row takes in others unseen."""

import csv
import gzip
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import maskmill.pipeline.tables.delimited as delimited
from maskmill.pipeline.reading.documents import Rejected
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.tables.fields import Fields
from maskmill.pipeline.tables.rows import list_table_parts, read_rows
from maskmill.tokenizer.errors import InputError

FIELDS = Fields("text", label_field="label")
SMALL = 60  # bytes of a part


def read(path, data):
    """The texts and labels of a file; None for a row that cannot be used. Whole and in parts they are the same."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    rows = list(read_rows(FilePart(str(path)), FIELDS))
    in_parts = [row for part in list_table_parts(str(path), SMALL) for row in read_rows(part, FIELDS)]
    found, again = ([None if isinstance(r, Rejected) else (r.text, r.label) for r in some] for some in (rows, in_parts))
    assert found == again
    return found


def of_spark(rows, delimiter=","):
    def quote(value):
        if not set(value) & {delimiter, '"', "\n", "\r"}:
            return value
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "".join(delimiter.join(map(quote, row)) + "\n" for row in [("text", "label"), *rows])


def of_mysql(rows):
    def quote(value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\\n") + '"'

    return "text,label\n" + "".join(",".join(map(quote, row)) + "\n" for row in rows)


def of_python(rows):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([("text", "label"), *rows])
    return file.getvalue()


def plain(rows):
    return [(f"text {i}", "ab"[i % 2]) for i in range(rows)]


def test_quotes_behind_backslashes_hide_no_rows(tmp_path):
    rows = plain(300)
    rows[100] = ('He said: "no"', "a")
    rows[201] = ('"Yes", she said, "and\nno"', "b")
    rows[250] = ("C:\\new, or \\", "a")
    rows[260] = (r"C:\new\\", "a")
    for write in (of_spark, of_mysql, of_python):
        assert read(tmp_path / "a.csv", write(rows)) == rows
    assert read(tmp_path / "b.csv", of_spark(rows, ";")) == rows
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(of_spark(rows).encode()))
    assert len(list(read_rows(FilePart(str(tmp_path / "a.csv.gz")), FIELDS))) == 300


def test_a_backslash_before_a_closing_quote_is_a_character_where_quotes_are_doubled(tmp_path):
    rows = [("a, \\", "x"), ('say \\"no\\"', "y"), ("b, c", "x"), ("d, \\", "y"), (",e", "x")]
    assert read(tmp_path / "a.csv", of_python(rows)) == rows


TEXTS = st.text(alphabet='ab"\\,\n ', min_size=1, max_size=8).filter(lambda text: text.strip())


@settings(derandomize=True)  # a file of these writers may by chance be one of another writer, with other rows
@given(st.lists(TEXTS, min_size=1, max_size=8), st.sampled_from([of_spark, of_mysql, of_python]))
@example(['",\n\\'], of_spark)
def test_every_row_of_a_proper_writer_is_a_row(tmp_path_factory, texts, write):
    rows = [(f"{i} {text}", "ab"[i % 2]) for i, text in enumerate(texts)]
    found = read(tmp_path_factory.getbasetemp() / "rows.csv", write(rows))
    assert [row and row[1] for row in found] == [row[1] for row in rows]
    if write == of_python:
        assert found == rows


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        ('"open', '"b, c"', "takes in 41 lines by its quotes, and is malformed"),
        ('"open', 'a disk of 5"', "takes in 41 lines by its quotes, each of which looks like a row"),
        ('"open', 'text",z', "takes in 41 lines by its quotes, and has 3 fields instead of 2"),
        ('"open', "text", "has a quote that does not end"),
        ('"open', 'text","z', "has a quote that does not end"),
    ],
)  # fmt: skip
def test_a_row_that_takes_in_others_is_refused(tmp_path, first, second, sentence):
    rows = plain(100)
    rows[10], rows[50] = (first, "a"), (second, "b")
    with pytest.raises(InputError, match=rf"^\S+a.csv: the row that begins in line 12, at byte 1\d\d, {sentence}.*"):
        read(tmp_path / "a.csv", "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))


def test_a_bad_row_of_one_line_is_one_row(tmp_path):
    rows = plain(30)
    rows[10] = ('"say "hi" there"', "a")
    rows[12] = ('a 5" disk', "a")
    rows[13] = ("too, many", "a")
    expected = [None if i in (10, 13) else row for i, row in enumerate(rows)]
    assert read(tmp_path / "a.csv", "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)) == expected


def test_a_text_of_many_lines_is_a_text(tmp_path):
    rows = [("\n".join(f"Line {i}, and\nno more" for i in range(30)), "a"), ("b", "c")]
    assert read(tmp_path / "a.csv", of_python(rows)) == rows


def test_the_files_of_excel_are_read(tmp_path):
    rows = [("eins; zwei", "a"), ('drei "vier"\nfünf, sechs', "b")]
    for header in ("text;label\r\n", "sep=;\r\ntext;label\r\n", '"sep=;"\ntext;label\n', "\ufefftext;label\r\n"):
        body = '"eins; zwei";a\r\n"drei ""vier""\nfünf, sechs";b\r\n'
        assert read(tmp_path / "a.csv", header + body) == rows
    assert read(tmp_path / "a.csv", 'text\tlabel\n"a\tb\nc"\tx\n') == [("a\tb\nc", "x")]


def test_carriage_returns_that_end_rows_are_refused(tmp_path):
    for kind, data in (
        ("csv", "text,label\ra,x\rb,y\r"),
        ("csv", "text,label\na,x\nb,y\rc,z\n"),
        ("tsv", "text\tlabel\na\tx\rb\ty\n"),
    ):
        with pytest.raises(InputError, match=r"line [123], at byte \d+, holds rows that end in carriage returns alone"):
            read(tmp_path / f"a.{kind}", data)
    assert read(tmp_path / "a.csv", 'text,label\r\na\rb,x\r\n"c\rd",y\r\n') == [None, ("c\rd", "y")]


def test_a_row_has_a_size_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 1000)
    path = tmp_path / "a.csv"
    for text in ("a" * 2000, '"' + '","\n' * 500 + '"'):
        with pytest.raises(InputError, match=r"line 3, at byte 15, has more than 1,000 bytes; expected shorter rows"):
            read(path, f"text,label\na,b\n{text},x\n")
    monkeypatch.setattr(delimited, "MAX_CHARACTERS", 100)
    assert read(path, f"text,label\n{'a' * 101},x\n{'b' * 99},y\n") == [None, ("b" * 99, "y")]
