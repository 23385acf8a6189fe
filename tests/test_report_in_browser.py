"""Reports as a reader sees them, in headless Chromium: nothing is loaded, nothing is cut off, all can be read."""

import re
from pathlib import Path

import pytest
from browser import open_browser
from command import SMALL, run

NARROW, WIDE = 400, 1400

# Texts of the page with their contrast: [text, contrast, size in pixels, whether it is bold].
CONTRASTS = """() => {
  const channels = color => { const found = color.match(/[\\d.]+/g).map(Number); return found.length < 4 ? [...found, 1] : found }
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3]))
  const light = color => color.slice(0, 3).map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0)
  const behind = element => {
    const layers = []
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor)
      if (color[3] > 0) layers.push(color)
      if (color[3] === 1) break
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255])
  }
  const found = []
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement
    if (!text || element.closest('title, desc, style, .hidden') || !element.checkVisibility()) continue
    const style = getComputedStyle(element), below = behind(element)
    const color = over(channels(element.closest('svg') ? style.fill : style.color), below)
    const [high, low] = [light(color), light(below)].sort((a, b) => b - a)
    found.push([text, (high + .05) / (low + .05)])
  }
  return found
}"""

# Of charts: lines and areas that are too faint to be seen (WCAG 1.4.11), but for the grid and the bands of chance.
FAINT = """() => {
  const light = color => color.map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0)
  const channels = color => color.match(/[\\d.]+/g).slice(0, 3).map(Number)
  const card = light(channels(getComputedStyle(document.querySelector('figure')).backgroundColor))
  return ['--first', '--second', '--ink', '--muted'].map(name => {
    const probe = document.body.appendChild(document.createElement('i'))
    probe.style.color = `var(${name})`
    const color = light(channels(getComputedStyle(probe).color))
    probe.remove()
    return [name, (Math.max(color, card) + .05) / (Math.min(color, card) + .05)]
  })
}"""

# Texts of charts that reach out of their card, or lie on another text.
MISPLACED = """() => [...document.querySelectorAll('figure')].flatMap(figure => {
  const card = figure.getBoundingClientRect()
  const texts = [...figure.querySelectorAll('svg text')].map(text => [text.textContent, text.getBoundingClientRect()])
  const out = texts.filter(([, box]) => box.left < card.left || box.right > card.right || box.bottom > card.bottom)
  const meet = texts.flatMap(([one, a], i) => texts.slice(i + 1).filter(([, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3).map(([other]) => [one, other]))
  return [...out.map(([text]) => text + ' is cut off'), ...meet.map(([a, b]) => a + ' lies on ' + b)]
})"""

# Elements that are wider than what shows them, but for those that scroll.
OVERFLOWING = """() => [...document.querySelectorAll('body, body *')].filter(element => {
  const box = element.getBoundingClientRect()
  return box.right > innerWidth + 1 && box.width && !element.closest('.scroll, .hidden, svg')
}).map(element => element.tagName + ' ' + element.className)"""


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
    for name, options in zip(names, (["--shards-per-copy", 7, "--dedup"], ["--max-seq-length", 64])):
        made = ["--vocab-file", small_vocab_file, "--output", folder / name, *SMALL, *options, "--min-document-tokens", 9]
        run("generate", folder / "corpus.txt", *made)
    run("report", folder / names[0], "--output", folder / "one.html")
    run("report", *(folder / name for name in names), "--output", folder / "two.html")
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
    assert not page.evaluate(OVERFLOWING)
    assert not page.evaluate(MISPLACED)
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 500
    assert [(text, round(contrast, 2)) for text, contrast in contrasts if contrast < 4.5] == []
    assert [(role, round(contrast, 2)) for role, contrast in page.evaluate(FAINT) if contrast < 3] == []
    for summary in page.locator("summary").all():
        summary.click()
    assert page.locator("details table").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not told
    page.close()


@pytest.mark.parametrize(
    ("style", "check"),
    [
        (".note { color: #888 }", CONTRASTS),
        (":root { --first: #cfe6f8 !important }", FAINT),
        (".plot text { font-size: 26px !important }", MISPLACED),
        (".tiles { width: 120vw }", OVERFLOWING),
    ],
)
def test_the_checks_see_what_is_wrong(browser, pages, style, check):
    page, _ = open_page(browser, pages["one"])
    page.add_style_tag(content=style)
    found = page.evaluate(check)
    assert [one for one in found if isinstance(one, str) or one[1] < (4.5 if check is CONTRASTS else 3)]
    page.close()


def test_what_a_report_would_load_is_not_loaded(browser, pages, tmp_path):
    """Should a tag slip in after all, the page's own policy stops it."""
    path = tmp_path / "page.html"
    slipped = "<img src='http://127.0.0.1:9/x'><script>document.title = 'ran'</script><main>"
    path.write_text(pages["one"].read_text().replace("<main>", slipped))
    page, told = open_page(browser, path)
    assert page.title() != "ran"
    assert [text for text in told if "Content Security Policy" in text]
    assert not [text for text in told if text.startswith("http://127")]
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
    assert not page.evaluate(OVERFLOWING)
    assert not page.evaluate(MISPLACED)
    assert [text for text, contrast in page.evaluate(CONTRASTS) if contrast < 4.5] == []
    breaks = "[...document.querySelectorAll('figure, .tile, .examples li')].map(one => getComputedStyle(one).breakInside)"
    assert set(page.evaluate(breaks)) == {"avoid"}
    page.close()


def test_a_screen_reader_finds_the_charts_by_their_titles(browser, pages):
    page, _ = open_page(browser, pages["one"])
    for title in ("Sequence lengths", "What stands at masked positions", "Tokens by frequency", "Shard sizes"):
        assert page.get_by_role("img", name=title).count() == 1
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("navigation").get_by_role("link").count() == 7
    page.close()
