"""Kinds of files that are no documents: how each is recognised by name and by content, and what makes it readable."""

import csv
import re
from dataclasses import dataclass
from pathlib import PurePath

from maskmill.pipeline.reading.compression import SUFFIXES
from maskmill.tokenizer.errors import InputError

ROWS_OF_TABLE = 3  # lines that must have the same number of fields, for a file to be taken for a table
LINES_WITH_TABS = 5  # the same for tabs, where no line names the columns
UTF16_STARTS = (b"\xff\xfe", b"\xfe\xff")
MAX_NUL_SHARE = 0.01  # more of a file's beginning: it is no text, or UTF-16
AS_TEXT = "; or give --input-format text or lines to read it as plain text"


@dataclass(frozen=True)
class Kind:
    """A kind of file that is no documents."""

    what: str
    way_out: str
    suffixes: str = ""
    start: str = ""  # a regular expression of the bytes that it begins with
    is_text: bool = True  # so that it can be read as plain text where that is asked for

    def refuse(self, path: str, shown_by: str) -> InputError:
        """What to raise for a file; `shown_by` is "name" or "content"."""
        if not self.is_text:
            return InputError(f"is no text but {self.what}, by its {shown_by}", way_out=f"{self.way_out}", path=path)
        return InputError(
            f"is {self.what} by its {shown_by}, which is not read", way_out=f"{self.way_out}{AS_TEXT}", path=path
        )


TO_TEXT = "convert it to plain text first, for example with pandoc --to plain"
TO_JSON_LINES = "write it as JSON lines or Parquet first, and give --text-field"
TABLE = Kind("a table", TO_JSON_LINES, "csv tsv tab psv")

# The first whose start fits is taken. Suffixes that are codes of languages, as in corpus.pl, are no kinds.
KINDS = (
    Kind("a Git LFS pointer without the data", "run git lfs pull, or download the file", "",
         r"version https://git-lfs", False),
    Kind("a web archive", "write the text of its pages as JSON lines first, for example with trafilatura or datatrove",
         "warc wet wat arc", r"WARC/\d"),
    Kind("a dump of MediaWiki", "run WikiExtractor on it and give what that writes", "",
         r"(<\?xml[^>]*>\s*)?<mediawiki\b"),
    Kind("HTML", "extract its text first, for example with trafilatura", "html htm xhtml mhtml",
         r"(?i:(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b)"),
    Kind("XML", "extract its text first, as plain text or JSON lines", "xml rss atom svg tei tmx xliff", r"<\?xml\s"),
    Kind("subtitles", "keep only what is spoken: take out numbers, times and tags", "srt vtt ass ssa sbv",
         r"WEBVTT\b|\[Script Info\]|(\d+[ \t]*\r?\n)?\d+:\d\d:\d\d[.,]\d+[ \t]*(-->|,)"),
    TABLE,
    Kind("a notebook or settings", "leave it out, or extract its text first",
         "ipynb yaml yml toml ini cfg conf lock gitattributes gitignore"),
    Kind("LaTeX", TO_TEXT, "tex latex bib", r"(%[^\n]*\n|\s)*\\(documentclass|documentstyle|begin\{document\})"),
    Kind("Markdown", TO_TEXT, "md markdown mdx rmd qmd", r"---[ \t]*\r?\n[A-Za-z_-]+:"),
    Kind("markup", TO_TEXT, "rst adoc asciidoc org textile rtf", r"\{\\rtf\d"),
    Kind("source code", "leave it out", "py pyi js mjs jsx tsx java c h cc cpp hpp cxx go rs rb php swift kt scala jl "
         "sql css scss bat ps1 bash zsh vue proto diff patch", r"#!|<\?php|%!PS"),
    Kind("an archive or an office document", "unpack or convert it, and give the files of text in it",
         "zip tar tgz tbz tbz2 txz 7z rar jar whl egg doc docx odt ppt pptx odp xls xlsx ods epub mobi",
         r"PK\x03\x04|7z\xbc\xaf|Rar!\x1a|.{257}ustar|\xd0\xcf\x11\xe0", False),
    Kind("a PDF", "convert it to plain text first, for example with pdftotext", "pdf djvu",
         r"%PDF-", False),
    Kind("compressed in a way that is not read", "unpack it, or compress it as gzip, zstd, bzip2 or xz",
         "lz4 lz lzma lzo z sz snappy", r"\x04\"M\x18|LZIP\x01|\x1f\x9d|\x89LZO|\xff\x06\0\0sNaPpY", False),
    Kind("binary data", TO_JSON_LINES, "arrow feather ipc orc avro npy npz tfrecord tfrecords pkl pickle pth "
         "safetensors h5 hdf5 hdf mat sqlite sqlite3 lmdb mdb msgpack rda rds duckdb",
         r"ARROW1\0|ORC[\0-\x1f]|Obj\x01|\x93NUMPY|\x89HDF|SQLite format 3\0|\x80[\x02-\x05]|.{4}\0{4}", False),
    Kind("an image, sound or video", "leave it out", "png jpg jpeg gif webp bmp tif tiff ico heic mp3 mp4 m4a wav flac "
         "ogg opus avi mkv mov webm", r"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF.{4}(WAVE|AVI |WEBP)|OggS\0|ID3[\x02-\x04]|"
         r"II\*\0|MM\0\*|BM.{4}\0{4}", False),
)  # fmt: skip
KIND_OF_SUFFIX = {suffix: kind for kind in KINDS for suffix in kind.suffixes.split()}
STARTS = [(re.compile(kind.start.encode("latin-1"), re.DOTALL), kind) for kind in KINDS if kind.start]
HEADER = re.compile(r'"?[A-Z_][\w.-]*( [\w.-]+)*"?([,;\t|]"?[A-Z_][\w.-]*( [\w.-]+)*"?)+', re.ASCII | re.IGNORECASE)
QUOTED_ROW = re.compile(r'"[^"]*(""[^"]*)*"[,;\t]["\d]')
CLOSING_TAG = re.compile(rb"</(?:p|div|a|span|li|ul|td|tr|h[1-6]|b|i|em|strong)>", re.IGNORECASE)


def require_documents_by_name(path: str) -> None:
    """Raises InputError where the name of a file, without that of its compression, is that of no documents."""
    name = path[: -len(PurePath(path).suffix)] if path.lower().endswith(SUFFIXES) else path
    if kind := KIND_OF_SUFFIX.get(PurePath(f"x{PurePath(name).name}").suffix[1:].lower()):  # x: .name is a suffix, too
        raise kind.refuse(path, "name")


def require_text(path: str, head: bytes) -> None:
    """Raises InputError where a file that begins so is no text in UTF-8, whatever the user says."""
    for start, kind in STARTS:
        if not kind.is_text and start.match(head):
            raise kind.refuse(path, "content")
    if head.count(0) > max(1, MAX_NUL_SHARE * len(head)) or head.startswith(UTF16_STARTS):
        what = "it begins as UTF-16 does" if head.startswith(UTF16_STARTS) else "it has NUL bytes"
        raise InputError(f"is no text ({what})", expected="UTF-8, leave it out or convert it", path=path)


def require_documents(path: str, head: bytes) -> None:
    """Raises InputError where a text that begins so is markup, a table or the like."""
    for start, kind in STARTS:
        if kind.is_text and start.match(head):
            raise kind.refuse(path, "content")
    if is_table(head):
        raise TABLE.refuse(path, "content")
    if head.startswith(b"<") and len(CLOSING_TAG.findall(head)) >= ROWS_OF_TABLE:
        raise KIND_OF_SUFFIX["html"].refuse(path, "content")


def is_table(head: bytes) -> bool:
    r"""Whether a file that begins like this is a CSV or TSV file. A text whose lines have commas is none.

    >>> is_table(b"id,text\n1,One two.\n2,Three.\n"), is_table(b"Come in, he said.\nNow, she said.\n")
    (True, False)
    """
    lines = head.decode(errors="replace").splitlines()
    if not head.endswith(b"\n"):
        lines = lines[:-1]  # the last may be cut off
    lines = [line for line in lines if line.strip()]
    if len(lines) < ROWS_OF_TABLE:
        return False
    if HEADER.fullmatch(lines[0]):
        delimiter = next(mark for mark in "\t;|," if mark in lines[0])
        rows = list(csv.reader(lines, delimiter=delimiter))
        return len(rows) >= ROWS_OF_TABLE and len({len(row) for row in rows[: max(ROWS_OF_TABLE, len(rows) - 1)]}) == 1
    tabs = {line.strip("\t").count("\t") for line in lines}
    if len(lines) >= LINES_WITH_TABS and len(tabs) == 1 and tabs != {0}:
        return True
    return all(QUOTED_ROW.match(line) for line in lines)
