"""English prose out of docstrings and reStructuredText: no code, tables, headings or markup.

Line by line first (`drop_code`, `drop_headings`, `split_paragraphs`), then paragraph by paragraph
(`strip_markup`), and last the judgement of each sentence (`is_english`). The rules would rather lose a sentence
than keep a dirty one.
"""

import re
from collections.abc import Iterable, Iterator

_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about after all also an and any are as at be been before being between both but by can cannot could do "
        "does each either every for from had has have he how however if in instead into is it its just like may more "
        "most must need no not of on once one only or other otherwise our over same should since so some such than "
        "that the their them then there these they this those through to two unless until up use used using very was "
        "we were what when where whether which while who why will with within without would you your",
    )
)
_DANGLING = frozenset(
    re.findall(r"\w+", "a an and are as at becomes by e for from g i if in is not of on or than that the to with")
)

_FENCE = re.compile(r"\s*(```|~~~)")
_COMMENT = re.compile(r"(?P<indent>\s*)\.\.( |$)(?P<rest>.*)")
_ADMONITION = re.compile(
    r"(?:note|warning|tip|hint|important|caution|attention|deprecated|versionadded|versionchanged)::\s*[\d.]*\s*(.*)"
)
_HEADING = re.compile(r"\s*(#.*|[A-Z]\w+( \w+)?:)$")
_RULE = re.compile(r"\s*([-=~^*#\"'`:.+_])\1{2,}\s*$")
_TABLE = re.compile(r"\s*(\||\+[-=+]{3}|[-=]+([\s|+]+[-=]+)+\s*$)|.*\|\s*$|.*\S {3,}\S+ {3,}\S|.*\S \| \S+ \| ")
_BULLET = re.compile(r"(?:[-*+•‣–]|\(?(?:\d{1,2}|[a-zA-Z#])[.)])\s+(?=\S)")
_FIELD = re.compile(r"[:@](?:param|arg|type|returns?|rtype|raises?|var|ivar|cvar|keyword|kwarg|throws)\b[^:]*:\s*")
_NAME = r"[`*\"']*[\w.\[\]-]+[`*\"']*"
_LABEL = re.compile(rf"{_NAME}(?:(?:,|/| or| and)\s?{_NAME})*\s*(?:\([^)]*\))?\s*(?::|--|—)\s+(?:\([^)]*\)\s*)?")
_TYPE = re.compile(
    r"(?:bool|boolean|int|integer|float|str|string|list|dict|tuple|callable|optional|\[\w+\]|"
    r"\((?:optional|required|default|deprecated)[^)]*\))(?:[,.;:] |(?<=[\])]) )\s*",
    re.IGNORECASE,
)
_PLAIN_WORD = re.compile(r"[a-z]+(?![\w.(\[])")
_MARKUP = [
    (re.compile(r"</?[a-zA-Z][^<>]{0,80}>(?!`)|&[a-z]+;"), ""),  # HTML
    (re.compile(r"!?\[([^\]\n]+)\]\((?:[^()\s]|\([^)]*\))*\)"), r"\1"),  # Markdown links
    (re.compile(r"(?<!\w)\[([^\]\n]+)\]\[[^\]\n]*\]"), r"\1"),
    (re.compile(r":(?:pep:`(?=\d)|PEP:`)"), "`PEP "),
    (re.compile(r":(?:rfc:`(?=\d)|RFC:`)"), "`RFC "),
    (re.compile(r":[a-zA-Z][\w:+.-]*:`[~!.]*([^`<]+?)\s*(?:<[^`>]*>)?`"), r"\1"),  # roles
    (re.compile(r"`([^`<]+?)\s*<[^`>]*>`_{0,2}"), r"\1"),  # hyperlinks
    (re.compile(r"\s*\[[#*\w-]{1,12}\]_(?!\w)"), ""),  # footnotes
    (re.compile(r"`{1,3}(?:[~!]?\.?(?=\w))?([^`]*)`{1,3}(?:__?(?!\w))?"), r"\1"),  # literals
    (re.compile(r"(?<![\w*])\*{1,2}(?=[^\s*])([^*]+?)(?<=[^\s*])\*{1,2}(?![\w*])"), r"\1"),  # emphasis
    (re.compile(r"(?<!\w)_([a-zA-Z]+)_(?!\w)"), r"\1"),  # emphasis
    (re.compile(r"(?<![\w|])\|(\w[^|]*)\|(?![\w|])"), r"\1"),  # substitutions
    (re.compile(r"\\(?=[\s*_`|])"), ""),  # escapes
]
_MARKUP_SIGN = re.compile(r"[`*_|<&\\]|\][(\[_]")
_SENTENCE_END = re.compile(
    r"(?<!e\.g\.)(?<!i\.e\.)(?<!\bvs\.)(?<!\bcf\.)(?<!\bal\.)(?:(?<=[.!?])|(?<=[.!?][\"')]))\s+(?=[\"'(]?[A-Z0-9])"
)
_FULL_STOP = re.compile(r"[\w\"')\]]{2}[.!?][\"')]?$")
_CODE = re.compile(
    r"https?:|www\.| #|:[a-z]+: |\]\)|[{}<>=\\|@^~$%`*]|\)\.\w|::|->|\w\(\)?\w*=|[^\x00-\u024f\u2010-\u2026]"
)
_WORD = re.compile(r"[a-z]+(?:['’-][a-z]+)*")


def clean_prose(text: str) -> list[list[str]]:
    """The paragraphs of English in `text`, each a list of its sentences.

    >>> clean_prose('''Return x rounded to n digits.
    ...
    ...     Parameters
    ...     ----------
    ...     n : int
    ...         The number of digits, as :class:`int`,
    ...         that the result has.
    ...
    ...     >>> round(2.5)
    ...     2
    ... ''')
    [['Return x rounded to n digits.'], ['The number of digits, as int, that the result has.']]
    """
    paragraphs = []
    for paragraph in split_paragraphs(drop_headings(drop_code(text.expandtabs().splitlines()))):
        sentences = _SENTENCE_END.split(add_full_stop(strip_markup(paragraph)))
        if english := [sentence for sentence in sentences if is_english(sentence)]:
            paragraphs.append(english)
    return paragraphs


def indent_of(line: str) -> int:
    """The number of blanks before a line's text.

    >>> indent_of("  two")
    2
    """
    return len(line) - len(line.lstrip())


def drop_code(lines: Iterable[str]) -> Iterator[str]:
    """The lines outside of fences, doctests, literal blocks and directives without prose; blank ones for the others.

    >>> list(drop_code(["So::", "", "    x = 1", "", ".. note:: It is so.", ">>> x", "1", "", "End."]))
    ['So:', '', '', '', 'It is so.', '', '', '', 'End.']
    """
    is_fenced = is_doctest = False
    block = -1  # while not negative, lines indented deeper than this are dropped
    for line in lines:
        text = line.strip()
        if _FENCE.match(line):
            is_fenced = not is_fenced
            yield ""
            continue
        if not text:
            is_doctest = False
        elif indent_of(line) <= block:
            block = -1
        is_doctest = is_doctest or text.startswith((">>>", "In [", "$ "))
        if is_fenced or is_doctest or block >= 0 or not text:
            yield ""
        elif comment := _COMMENT.match(line):
            if admonition := _ADMONITION.match(comment["rest"]):
                yield admonition[1] and comment["indent"] + admonition[1]
            else:
                block = len(comment["indent"])
                yield ""
        elif text.endswith("::"):
            block = indent_of(line)
            yield line.rstrip()[:-1]
        else:
            yield line


def drop_headings(lines: Iterable[str]) -> Iterator[str]:
    """The lines outside of tables, with blanks for titles and headings such as `Args:`, and without rules.

    >>> list(drop_headings(["Notes", "-----", "It is so.", "", "a  b", "=  =", "1  2"]))
    ['', 'It is so.', '', '']
    """
    block: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
            continue
        if not any(_TABLE.match(row) for row in block):
            for row, below in zip(block, [*block[1:], ""]):
                if not _RULE.match(row):
                    yield "" if _RULE.match(below) or _HEADING.match(row) else row
        yield ""
        block = []


def split_paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """The paragraphs of `lines`, each unwrapped; items of lists lose bullets and the names they describe.

    >>> list(split_paragraphs(["Args:", "  x (int): how", "    many", "  - so", "", "It is", "so: or not."]))
    ['Args:', 'How many', 'So', 'It is so: or not.']
    """
    paragraph: list[str] = []
    start = 0  # indent of the paragraph's first line
    is_item = False
    for line in [*lines, ""]:
        text, indent = line.strip(), indent_of(line)
        may_be_item = not paragraph or indent < start or (indent == start if is_item else indent > start)
        item = drop_label(text) if may_be_item or _BULLET.match(text) else text
        if paragraph and (
            not text
            or item != text
            or indent < start
            or (indent > start and not is_item and len(paragraph) == 1)
            or (indent > start and len(paragraph[-1]) < 40 and not text[0].islower())
        ):
            yield " ".join(paragraph)
            paragraph = []
        if item:
            if not paragraph:
                start, is_item = indent, item != text
            paragraph.append(item)


def drop_label(text: str) -> str:
    """What a line says without its bullet and the name, type or field it describes; then with a capital.

    >>> drop_label("* x (int): the number"), drop_label(":param x: the number"), drop_label("The number")
    ('The number', 'The number', 'The number')
    """
    item = text
    for pattern in (_BULLET, _FIELD, _LABEL, _TYPE):
        if label := pattern.match(item):
            item = item[label.end() :]
    return item[:1].upper() + item[1:] if item != text and _PLAIN_WORD.match(item) else item


def strip_markup(paragraph: str) -> str:
    """The text of a paragraph of reStructuredText or Markdown, every run of blanks one.

    >>> strip_markup("See :func:`~os.path.join`, ``x``, **bold** and `the docs <https://x.y>`_  [1]_.")
    'See os.path.join, x, bold and the docs.'
    """
    if _MARKUP_SIGN.search(paragraph):
        for pattern, replacement in _MARKUP:
            paragraph = pattern.sub(replacement, paragraph)
    return " ".join(paragraph.split())


def add_full_stop(paragraph: str) -> str:
    """The paragraph with the full stop that summaries and items of lists often lack.

    >>> add_full_stop("Close the file and forget it"), add_full_stop("One of"), add_full_stop("For example:")
    ('Close the file and forget it.', 'One of', 'For example:')
    """
    words = paragraph.split(" ")
    ends_open = not paragraph[-1:].isalnum() or words[-1] in _DANGLING
    return paragraph if ends_open or len(words) < 5 else paragraph + "."


def is_english(sentence: str) -> bool:
    """Is this a whole English sentence: a capital, letters, function words and a full stop?

    >>> is_english("The number of rows that the table has."), is_english("x = foo(1, 2)."), is_english("For example:")
    (True, False, False)
    """
    words = _WORD.findall(sentence.lower())
    return (
        len(words) >= 4
        and (sentence[0].isupper() or sentence[0] in "\"'(")
        and bool(_FULL_STOP.search(sentence))
        and not _CODE.search(sentence)
        and sentence.count("(") == sentence.count(")")
        and sum(map(len, words)) >= 0.66 * len(sentence)
        and sum(word in _FUNCTION_WORDS for word in words) > 0.12 * len(words)
    )
