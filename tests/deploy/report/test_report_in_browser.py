"""Reports as a reader sees them, in headless Chromium: nothing is loaded, nothing is cut off, all can be read."""

import re
from pathlib import Path

import pytest
from browser import open_browser
from cloud import Handler, serve
from command import SMALL, run

NARROW, WIDE = 400, 1400

CHECKS = Path(__file__).with_name("report_checks.js").read_text()


def look(page, what: str) -> list:
    """What one of the functions of report_checks.js finds on a page."""
    return page.evaluate(f"() => {{ {CHECKS}; return {what}() }}")


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory, corpus_file, small_vocab_file) -> dict[str, Path]:
    """A report of one dataset, of which some documents could not be used, and one of two, with names that are long."""
    folder = tmp_path_factory.mktemp("pages")
    documents = corpus_file.read_text() + "\n\n" + "the cat ☃ é zebra \u96ea " * 30 + "\n"
    (folder / "corpus.txt").write_text(documents)
    names = ["a-dataset-with-a-rather-long-name-" + "x" * 60, "other"]
    for name, options in zip(names, (["--shards-per-copy", 7, "--dedup"], ["--whole-word-mask"])):
        made = [
            "--vocab-file",
            small_vocab_file,
            "--output",
            folder / name,
            *SMALL,
            *options,
            "--min-document-tokens",
            9,
        ]
        run("generate", folder / "corpus.txt", *made)
    documents = ["--documents", folder / "corpus.txt"]
    run("report", folder / names[0], "--output", folder / "one.html", *documents)
    run("report", *(folder / name for name in names), "--output", folder / "two.html", *documents)
    return {name: folder / f"{name}.html" for name in ("one", "two")}


def open_page(browser, path: Path, width: int = WIDE, scheme: str = "light"):
    """A page with its console and the requests for anything but itself."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page, told


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", ["one", "two"])
def test_a_report_can_be_read(browser, pages, name, width, scheme):
    page, told = open_page(browser, pages[name], width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not look(page, "overflowing")
    assert not look(page, "misplaced")
    assert not look(page, "illegible")
    assert not look(page, "faint")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.locator("details table").first.is_visible()
    assert not look(page, "broken")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not told
    page.close()


@pytest.mark.parametrize(
    ("style", "check"),
    [
        (".tile .note { color: #888 }", "illegible"),
        (":root { --first: #cfe6f8 !important }", "faint"),
        (".plot text { font-size: 26px !important }", "misplaced"),
        (".tile .value { display: block; width: 1em }", "broken"),
        (".tiles { width: 120vw }", "overflowing"),
    ],
)
def test_the_checks_see_what_is_wrong(browser, pages, style, check):
    page, _ = open_page(browser, pages["one"])
    page.add_style_tag(content=style)
    assert look(page, check)
    page.close()


def test_what_a_report_would_load_is_not_loaded(browser, pages, tmp_path):
    """Should a tag slip in after all, the page's own policy stops it before anything is sent."""
    asked = []

    class Elsewhere(Handler):
        def do_GET(self):
            asked.append(self.path)
            self.reply(200, b"")

    with serve(Elsewhere) as url:
        path = tmp_path / "page.html"
        slipped = f"<img src='{url}/x'><script>document.title = 'ran'</script><main>"
        path.write_text(pages["one"].read_text().replace("<main>", slipped))
        page, told = open_page(browser, path)
        page.wait_for_load_state("networkidle")
    assert page.title() != "ran"
    assert len([text for text in told if "Content Security Policy" in text]) == 2
    assert not asked
    page.close()


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_report_prints_dark_on_white_with_no_figure_cut_in_two(browser, pages, name):
    page, _ = open_page(browser, pages[name], scheme="dark")
    printed = page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 2
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 within its margins
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav, details").locator("visible=true").count()
    assert not look(page, "overflowing")
    assert not look(page, "misplaced")
    assert not look(page, "illegible")
    breaks = (
        "[...document.querySelectorAll('figure, .tile, .examples li')].map(one => getComputedStyle(one).breakInside)"
    )
    assert set(page.evaluate(breaks)) == {"avoid"}
    page.close()


def test_a_screen_reader_finds_the_charts_by_their_titles(browser, pages):
    page, _ = open_page(browser, pages["one"])
    for title in ("Sequence lengths", "What stands at masked positions", "Tokens by frequency", "Shard sizes"):
        assert page.get_by_role("img", name=title).count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("navigation").get_by_role("link").count() == 7
    page.close()
