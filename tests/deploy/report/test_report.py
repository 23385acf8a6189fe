"""`maskmill report`: that its figures are the dataset's, that it is one page, and that it is written whole or not."""

import json
import re
import shlex
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from cloud import emulator
from command import SMALL, refuse, run
from documentation import check_maskmill, commands_in, read_page
from google.cloud.storage import Client
from hypothesis import given
from hypothesis import strategies as st
from look import MODEL_GARDEN, random_examples, write_shard

from maskmill.deploy.cli import find_sentence
from maskmill.deploy.report import charts, page, subject
from maskmill.deploy.report.charts import Axis
from maskmill.deploy.report.request import ReportRequest
from maskmill.deploy.report.svg import VARIABLES, in_style, new_figure, to_svg
from maskmill.pipeline.analysis.chart_values import attention_on_padding, group_shards, into_bins, rank_tokens
from maskmill.pipeline.dataset.schema import DatasetInfo
from maskmill.tokenizer.json_file import seal

HIDDEN = {"\x1b[31mred": r"\x1b[31mred", "gpj\u202eexe": r"gpj\u202eexe", "a\x0bb\x9bc\ufffe": r"a\x0bb\x9bc\ufffe"}
EVIL = ["<script>alert(1)</script>", "</svg><img/src=x>", "&lt;b&gt;", "$x_1^2$", '"onload="alert(1)']


class Page(HTMLParser):
    """The elements of a page in order, and its text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def find_all(self, tag):
        return [attributes for found, attributes in self.elements if found == tag]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, corpus_file, small_vocab_file) -> Path:
    """Documents with words that the vocabulary lacks, and one that cannot be used."""
    folder = tmp_path_factory.mktemp("report")
    documents = [{"text": text} for text in corpus_file.read_text().split("\n\n")]
    documents[0]["text"] += "\nthe cat é é é sat ☃ on zebra mat"
    lines = [*map(json.dumps, documents), json.dumps({"other": 1})]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    options = [*SMALL, "--eval-fraction", 0.2, "--shards-per-copy", 3, "--max-rejected", 0.1]
    run("generate", folder / "corpus.jsonl", "--vocab-file", small_vocab_file, "--output", folder / "ours", *options)
    return folder / "ours"


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    """TFRecords as TF Model Garden writes them, without a vocabulary."""
    folder = tmp_path_factory.mktemp("others")
    for number in range(2):
        write_shard(folder / f"part-{number}.tfrecord", random_examples(number, 40), MODEL_GARDEN)
    return folder


@pytest.fixture(scope="module")
def html(dataset, tmp_path_factory) -> str:
    output = tmp_path_factory.mktemp("page") / "report.html"
    run("report", dataset, "--output", output, "--documents", dataset.parent / "corpus.jsonl")
    return output.read_text()


def tiles_of(html: str) -> dict[str, str]:
    """The first value of each headline figure, by its label."""
    return dict(re.findall(r'<dt>(.*?)</dt><dd><span class="value">(.*?)</span>', html))


def test_headline_figures_are_the_manifests(html, dataset):
    counts = DatasetInfo.load(dataset).counts["train"]
    tiles = tiles_of(html)
    assert tiles["sequences"] == f"{counts['instances']:,}"
    assert tiles["padding"] == f"{1 - counts['instance_tokens'] / counts['instances'] / 32:.1%}"
    assert tiles["predictions"] == f"{counts['masked_tokens'] / counts['instances']:.1f}"
    assert tiles["random next"] == f"{counts['random_next'] / counts['instances']:.1%}"


def test_masking_kinds_are_the_manifests(html, dataset):
    counts = DatasetInfo.load(dataset).counts["train"]
    for kind, name in (("mask", "[MASK]"), ("same", "the token itself"), ("random", "another token")):
        count = counts[f"masked_as_{kind}"]
        row = f'<th scope="row">{name}</th><td>{count:,}</td><td>{count / counts["masked_tokens"]:.2%}</td>'
        assert row in html


def test_what_was_rejected_is_told_by_reason(html):
    assert "rejected: no field 'text'" in Page(html).text
    assert "1 of 41 documents were rejected" in html


def test_the_characters_behind_unk_come_from_the_documents(html):
    assert "2 characters are behind it" in html  # é becomes e, as for every uncased BERT; the words with ☃ and z not
    for character in ("☃ U+2603", "z U+007A"):
        assert character in html
    assert '<th scope="row">zebra</th>' in html


def test_no_file_that_a_dataset_names_is_opened(dataset, tmp_path):
    copy = tmp_path / "foreign"
    copy.mkdir()
    for path in dataset.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    secret = tmp_path / "secret.txt"
    secret.write_text("The passphrase is zyzzyva.\n")
    run_json = json.loads((copy / "run.json").read_text())
    del run_json["sha256"]
    (copy / "run.json").write_text(seal({**run_json, "inputs": [str(secret)], "vocab_file": str(secret)}))
    run("report", copy, "--output", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "name the documents with --documents" in Page(page).text
    assert "zyzzyva" not in page
    assert "behind [UNK]" not in page


def test_the_same_dataset_gives_the_same_bytes_with_any_number_of_workers(dataset, html, tmp_path):
    documents = ["--documents", dataset.parent / "corpus.jsonl"]
    run("report", dataset, "--output", tmp_path / "report.html", "--num-workers", 2, *documents)
    assert (tmp_path / "report.html").read_text() == html


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(html):
    page = Page(html)
    assert not page.find_all("script")
    assert {a.get("href") for a in page.find_all("a")} <= {f"#{one.get('id')}" for one in page.find_all("section")}
    assert [link["href"] for link in page.find_all("link")] == ["data:,"]
    assert not re.findall(r"https?:|url\((?!#)|@import| src=", html)
    assert "default-src 'none'" in html


def test_every_chart_has_a_title_a_description_units_and_its_numbers(html):
    page = Page(html)
    svgs = page.find_all("svg")
    assert len(svgs) == 12 == len(page.find_all("details"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for svg in svgs:
        assert svg["role"] == "img"
        for name in svg["aria-labelledby"].split():
            (text,) = re.findall(rf'<(?:title|desc) id="{name}">(.*?)</', html)
            assert len(text) > 5
    for title in ("tokens in a sequence", "share of the sequences", "MB a shard", "occurrences", "rank of the token"):
        assert title in page.text


def test_twelve_examples_are_as_inspect_shows_them(dataset, html):
    assert html.count('<li class="card">') == 12
    shown = run("inspect", dataset, "-n", 1)
    first = " ".join(shown.split("to predict\n")[1].split())
    assert first in " ".join(unescape(re.sub("<[^>]*>", "", html.split('<ol class="examples">')[1])).split())


def test_html_in_tokens_and_paths_is_text(tmp_path):
    folder = tmp_path / "<img src=x onerror=alert(1)> & co"
    folder.mkdir()
    write_shard(folder / "part.tfrecord", random_examples(0, 30))
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *EVIL,
        "<b>x</b>",
        *HIDDEN,
        *(f"<b>{number}</b>" for number in range(50)),
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens))
    run("report", folder, "--output", tmp_path / "out.html", "--vocab-file", tmp_path / "vocab.txt")
    page = Page((tmp_path / "out.html").read_text())
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    for token in [*EVIL, *HIDDEN.values()]:
        assert token in page.text
    assert not set("\x1b\u202e\x0b\x9b") & set(page.text)
    assert folder.name in page.text


def test_two_datasets_stand_side_by_side(dataset, others, tmp_path):
    run("report", dataset, others, "--output", tmp_path / "both.html")
    html = (tmp_path / "both.html").read_text()
    tile = html.split("<dt>sequences</dt>")[1].split("</div>")[0]
    assert re.findall(r'class="value">(.*?)<', tile)[1] == "80"
    assert '<th scope="col">ours: share</th>' in html
    assert f'<th scope="col">{others.name}: share</th>' in html
    assert html.count('<ol class="examples">') == 2
    assert "<td>made by another program</td>" in html
    assert f"<b>{others.name}</b> Without a manifest nobody knows." in html
    assert '<th scope="col">ours: number</th></tr></thead>' in html  # what was rejected: of the one that tells


def test_a_vocabulary_that_is_given_is_for_the_one_of_two_that_has_none(dataset, others, tmp_path, bert_vocab):
    (tmp_path / "vocab.txt").write_text(bert_vocab.to_text())
    run("report", dataset, others, "--output", tmp_path / "r.html", "--vocab-file", tmp_path / "vocab.txt")
    shown = re.findall(r"of ([\d,]+) tokens<", (tmp_path / "r.html").read_text())
    assert shown == [f"{DatasetInfo.load(dataset).vocab_size:,}", "30,522"]


def test_of_tfrecords_without_a_vocabulary_the_report_says_what_it_cannot_know(others, tmp_path):
    run("report", others, "--output", tmp_path / "others.html")
    html = (tmp_path / "others.html").read_text()
    assert tiles_of(html)["[UNK]"] == "?"
    assert "Without a manifest nobody knows what was rejected." in html
    assert "Never used" not in html


def test_single_segments_have_no_labels_and_no_segment_b(tmp_path, corpus_file, small_vocab_file):
    options = [*SMALL, "--objective", "mlm", "--output", tmp_path / "mlm"]
    run("generate", corpus_file, "--vocab-file", small_vocab_file, *options)
    run("report", tmp_path / "mlm", "--output", tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert "Segment B" not in html
    assert "andom next" not in html


def test_a_report_of_many_shards_of_long_sequences_stays_small(others, monkeypatch, tmp_path):
    def measure_many(opened, num_workers):
        measure = real(opened, num_workers)
        return replace(measure, shards=measure.shards * 5000)

    real = subject.measure_dataset
    monkeypatch.setattr(subject, "measure_dataset", measure_many)
    folder = tmp_path / "long"
    folder.mkdir()
    write_shard(folder / "part.tfrecord", random_examples(0, 24, 512, 77, 30_000))
    page.write_report(ReportRequest([str(folder), str(others)], str(tmp_path / "report.html")))
    html = (tmp_path / "report.html").read_text()
    assert len(html.encode()) < 1_000_000
    assert "groups of 42 and 84 shards" in html


def test_what_stands_out_is_said_on_the_page_and_on_the_terminal(tmp_path):
    arrays = random_examples(0, 400)
    arrays["next_sentence_labels"][:] = 1
    write_shard(tmp_path / "a.tfrecord", arrays)
    printed = run("report", tmp_path, "--output", tmp_path / "report.html")
    for sentence in ("100.0% of the pairs have a random next: many documents", "of all positions are padding"):
        assert sentence in printed
        assert sentence in (tmp_path / "report.html").read_text()


def test_a_dataset_made_by_the_rules_has_nothing_that_stands_out(tmp_path, corpus_lines, small_vocab_file):
    long = "\n\n".join("\n".join(lines * 5) for lines in corpus_lines if len(lines) > 8)
    (tmp_path / "corpus.txt").write_text(long)
    options = [*SMALL, "--shards-per-copy", 1, "--short-seq-prob", 0]
    run("generate", tmp_path / "corpus.txt", "--vocab-file", small_vocab_file, "--output", tmp_path / "d", *options)
    assert len(run("report", tmp_path / "d", "--output", tmp_path / "report.html").splitlines()) == 1
    assert "Nothing: padding, masking" in (tmp_path / "report.html").read_text()


def test_a_report_is_not_replaced_unasked(dataset, tmp_path):
    output = tmp_path / "report.html"
    output.write_text("mine")
    assert f"output {output} exists; give another name, or --overwrite" in refuse("report", dataset, "--output", output)
    assert output.read_text() == "mine"
    run("report", dataset, "--output", output, "--overwrite")
    assert "<!DOCTYPE html>" in output.read_text()


def test_of_a_damaged_dataset_nothing_is_written(dataset, tmp_path):
    copy = tmp_path / "damaged"
    copy.mkdir()
    for path in dataset.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    shard = sorted(copy.glob("instances-*"))[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    assert shard.name in refuse("report", copy, "--output", tmp_path / "report.html")
    assert not list(tmp_path.glob("*.html*"))


def test_wrong_usage_is_told(dataset, tmp_path):
    (tmp_path / "file").touch()
    assert "file" in refuse("report", dataset, "--output", tmp_path / "file" / "r.html")
    missing = find_sentence(ModuleNotFoundError("No module named 'jinja2'", name="jinja2"))
    assert missing == "this command needs jinja2, not installed here; in maskmill's folder run: pip install '.[report]'"
    assert "3 datasets are given" in refuse("report", *[dataset] * 3, "--output", tmp_path / "r.html", exit_code=2)
    assert "is no dataset" in refuse("report", tmp_path, "--output", tmp_path / "r.html")


def test_datasets_and_reports_may_lie_in_cloud_storage(dataset, html, tmp_path, monkeypatch):
    with emulator() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        bucket = Client().create_bucket("work")
        for path in dataset.iterdir():
            bucket.blob(f"ours/{path.name}").upload_from_filename(path)
        documents = ["--documents", dataset.parent / "corpus.jsonl"]
        run("report", "gs://work/ours", "--output", "gs://work/out/report.html", *documents)
        there = bucket.blob("out/report.html").download_as_text()
        assert there == html.replace(str(dataset), "gs://work/ours")
        assert "exists" in refuse("report", "gs://work/ours", "--output", "gs://work/out/report.html")


@pytest.mark.parametrize("command", commands_in(read_page("report.md")))
def test_every_documented_command_is_one_that_exists(command):
    program, *arguments = shlex.split(command)
    assert program == "maskmill"
    check_maskmill(arguments)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80), st.integers(1, 9))
def test_bins_and_groups_lose_nothing(numbers, width):
    histogram = np.array(numbers)
    assert into_bins(histogram, width).sum() == histogram.sum()
    groups, size = group_shards(numbers, most=width)
    assert groups.sum() == histogram.sum()
    assert len(groups) <= width
    assert size * (len(groups) - 1) < len(numbers)


@given(st.lists(st.integers(1, 16), min_size=1, max_size=30))
def test_attention_on_padding_is_what_counting_pairs_gives(lengths):
    histogram = np.bincount(lengths, minlength=17)
    on_text = sum(1 for length in lengths for row in range(16) for column in range(16) if max(row, column) < length)
    assert attention_on_padding(histogram) == pytest.approx(1 - on_text / (len(lengths) * 256))


def test_ranks_begin_with_the_most_frequent_token_and_end_with_the_rarest():
    ranks, counts = rank_tokens(np.arange(5000))
    assert (ranks[0], counts[0], ranks[-1], counts[-1]) == (1, 4999, 4999, 1)
    assert len(ranks) < 161
    assert (np.diff(counts) < 0).all()


def draw(name: str = "chart") -> str:
    with in_style():
        plot = charts.plot_histogram([np.arange(4.0)] * 2, [np.ones(3)] * 2, Axis("tokens"), Axis("share"))
        return str(to_svg(plot, name, "a < b", "what there is"))


def test_a_chart_has_the_same_bytes_whatever_was_drawn_before():
    first = draw()
    with in_style():
        to_svg(new_figure(), "other", "", "")
    assert draw() == first


def test_a_chart_has_the_colours_and_the_font_of_the_page():
    svg = draw()
    assert {f"var({name})" for name in VARIABLES.values()} >= set(re.findall(r"var\(--\w+\)", svg))
    assert "var(--second)" in svg
    assert not re.findall(r"#[0-9a-f]{6}|font-family|DejaVu|<style", svg)
    assert '<title id="chart-title">a &lt; b</title>' in svg


def test_charts_have_no_ids_in_common():
    ids = [set(re.findall(r'id="(.*?)"', draw(name))) for name in ("one", "two")]
    assert len(ids[0]) > 2
    assert not ids[0] & ids[1]
    assert set(re.findall(r"#([\w-]+)", draw("one"))) <= ids[0]


def test_a_users_own_settings_of_matplotlib_change_nothing(monkeypatch):
    first = draw()
    with matplotlib.rc_context({"axes.titlesize": 40, "lines.linewidth": 9, "axes.spines.top": True}):
        assert draw() == first
