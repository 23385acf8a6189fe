import doctest
import subprocess
import sys
import sysconfig
import warnings
from itertools import islice
from pathlib import Path

import pytest

from maskmill.deploy.demo import prose, python_docs
from maskmill.deploy.demo.prose import clean_prose
from maskmill.deploy.demo.python_docs import PythonDoc, collect_documents


def paragraphs(text: str) -> list[str]:
    return [" ".join(sentences) for sentences in clean_prose(text)]


@pytest.mark.parametrize("module", [prose, python_docs])
def test_the_examples_in_the_docstrings_hold(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_wrapped_paragraph_becomes_one_line():
    text = "This text of the page\nis wrapped in the middle.\n\nAnd here is another one."
    assert paragraphs(text) == ["This text of the page is wrapped in the middle.", "And here is another one."]


@pytest.mark.parametrize(
    "code",
    [
        ">>> round(2.5)\n2",
        "```python\nThis is the code of a program.\n```",
        ".. code-block:: python\n\n    This is the code of a program.",
        "As so::\n\n    This is the code of a program.\n\n    And so is this one.",
        "=====  ============================\nname   what it is in the table.\n=====  ============================",
        "| name | what it is in the table. |\n|------|--------------------------|",
        "The Notes of the Day\n--------------------",
        "Args:",
        ".. [1] The author of a book, The title of the book.",
        "See https://example.org/the/page/of/the/project.",
        "x = f(a, b) and y = g(c) is the code.",
        "For example, the following options are known:",
        "int, float or str",
    ],
)
def test_what_is_no_prose_is_dropped(code):
    text = f"It stands before the code.\n\n{code}\n\nIt stands after the code."
    assert paragraphs(text) == ["It stands before the code.", "It stands after the code."]


@pytest.mark.parametrize(
    "described",
    [
        "x : int, optional\n    The number of rows\n    in the table.",
        "x (int): The number of rows\n    in the table.",
        "x: (int) the number of rows\n    in the table.",
        ":param x: The number of rows\n    in the table.",
        ":param x:\n    The number of rows in the table.",
        "@param x: the number of rows in the table.",
        "x, y -- the number of rows in the table.",
        "* ``x``: the number of rows\n  in the table.",
        "1. The number of rows in the table",
        "x: optional, the number of rows in the table.",
    ],
)
def test_the_description_of_a_parameter_stays_and_its_name_goes(described):
    assert paragraphs(f"Arguments:\n{described}") == ["The number of rows in the table."]


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("``x``", "x"),
        ("`x`", "x"),
        (":func:`x`", "x"),
        (":py:meth:`~a.b.x`", "a.b.x"),
        (":class:`a thing <a.b>`", "a thing"),
        (":pep:`484`", "PEP 484"),
        ("**x**", "x"),
        ("*x*", "x"),
        ("`x <https://example.org>`_", "x"),
        ("[x](https://example.org)", "x"),
        ("x [1]_", "x"),
        ("<b>x</b>", "x"),
    ],
)
def test_markup_goes_and_its_text_stays(markup, text):
    assert paragraphs(f"This is the use of {markup} in a sentence.") == [f"This is the use of {text} in a sentence."]


def test_a_note_is_prose_though_it_is_a_directive():
    assert paragraphs(".. note::\n    This is of some use.") == ["This is of some use."]


def test_a_dirty_sentence_does_not_take_its_paragraph_along():
    assert paragraphs("So it is now. Then x = {1: 2} holds for it. That is all of it.") == [
        "So it is now. That is all of it."
    ]


SENTENCES = "The {0} of the house is painted every year. It is as old as the {0} itself, and nobody knows why. " * 3


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder as on sys.path, with one package and what must not be read of it."""
    package = tmp_path / "shed"
    saw = f'class Saw:\n    """{SENTENCES.format("saw")}"""\n'
    files = {
        "__init__.py": f'"""{SENTENCES.format("roof")}"""\nraise RuntimeError("imported")\n',
        "tools.py": saw + '    def cut(self):\n        """Cut the wood in two."""\n',
        "short.py": '"""This is too short for a document."""\n',
        "twin.py": f'"""{SENTENCES.format("roof")}"""\n',
        "broken.py": f'"""{SENTENCES.format("hinge")}"""\ndef f(:\n',
        "escape.py": f'"""{SENTENCES.format("ladder")}"""\nPATTERN = "\\d"\n',
        "fast.pyx": f'cdef class Plane:\n    """{SENTENCES.format("plane")}"""\n',
        "code_pb2.py": f'"""{SENTENCES.format("message")}"""\n',
        "made.py": f'# Made by a tool. DO NOT EDIT.\n"""{SENTENCES.format("machine")}"""\n',
        "tests/test_tools.py": f'"""{SENTENCES.format("test")}"""\n',
        "_vendor/copy.py": f'"""{SENTENCES.format("copy")}"""\n',
        "client_v1beta1/client.py": f'"""{SENTENCES.format("client")}"""\n',
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return tmp_path


def test_a_module_is_a_document_and_so_is_a_class_with_its_methods(site):
    documents = {document.id: document.text for document in collect_documents([site])}
    assert list(documents) == ["shed", "shed.escape", "shed.fast.Plane", "shed.tools.Saw"]
    assert documents["shed"] == SENTENCES.format("roof").strip()
    assert documents["shed.tools.Saw"] == SENTENCES.format("saw").strip() + "\n\nCut the wood in two."


def test_no_package_is_imported_and_no_warning_shown(site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(collect_documents([site]))
    assert "shed" not in sys.modules


def test_reading_the_installed_packages_imports_none_of_them():
    code = (
        "import sys; from itertools import islice; from maskmill.deploy.demo.python_docs import collect_documents\n"
        "list(islice(collect_documents(max_docstring_characters=100_000), 3))\n"
        "print(sorted({'numpy', 'apache_beam', 'keras', 'tensorflow', 'pyarrow'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_two_runs_give_the_same_documents(site):
    assert list(collect_documents([site])) == list(collect_documents([site]))


def test_a_large_package_gives_only_its_share(tmp_path):
    for name, modules in [("large", 40), ("small", 2)]:
        (tmp_path / name).mkdir()
        for i in range(modules):
            word = f"{name}{'abcdefghij'[i % 10]}{'abcdefghij'[i // 10]}"
            (tmp_path / name / f"{word}.py").write_text(f'"""{SENTENCES.format(word)}"""\n')
    documents = list(collect_documents([tmp_path], max_docstring_characters=12 * len(SENTENCES.format("large12"))))
    assert sum(document.id.startswith("small") for document in documents) == 2
    assert 8 <= sum(document.id.startswith("large") for document in documents) <= 12


def test_the_standard_library_alone_is_a_good_amount_of_english():
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    documents = list(islice(collect_documents([stdlib], max_docstring_characters=1_000_000), 400))
    assert len(documents) > 100
    assert sum(len(document.text) for document in documents) > 200_000
    assert all(isinstance(document, PythonDoc) and len(document.text) >= 200 for document in documents)
    assert not any("`" in document.text or ">>>" in document.text or "::" in document.text for document in documents)
