"""A user's own `model.py`, `tokenizer.py`, `pipeline/` and `deploy.py` change nothing. A checkout is to be installed.

They lie in the current folder and on PYTHONPATH. test_clean_worker.py has them for workers elsewhere.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command import SMALL, run
from own_modules import SAYS, write_own_modules
from places import ROOT


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_own_modules(tmp_path_factory.mktemp("own"))


def python(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder that is on PYTHONPATH, too."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )


def test_own_modules_change_nothing(tmp_path, own, corpus_file, small_vocab_file):
    assert SAYS in python("-c", "import tokenizer", folder=own).stderr
    arguments = ["generate", corpus_file, "--vocab-file", small_vocab_file, *SMALL]
    code = "from maskmill.deploy.cli import main; main(prog_name='maskmill')"  # the current folder is on sys.path
    output = tmp_path / "beside own modules"
    made = python("-c", code, *arguments, "--output", output, "--num-workers", 2, folder=own)
    assert made.returncode == 0, made.stderr
    run(*arguments, "--output", tmp_path / "alone", "--num-workers", 1)
    manifest = (output / "dataset_info.json").read_bytes()
    assert manifest == (tmp_path / "alone" / "dataset_info.json").read_bytes()

    script = own / "script.py"
    script.write_text(
        "import sys\n"
        "from maskmill.pipeline.dataset.schema import DatasetInfo\n"
        "print(DatasetInfo.load(sys.argv[1]).config['max_seq_length'])\n"
    )
    printed = python(script, output, folder=own)
    assert (printed.stdout, printed.stderr) == ("32\n", "")


def test_a_checkout_says_how_to_install_it():
    said = python("-m", "deploy.cli", folder=ROOT)
    assert said.returncode == 1
    assert said.stderr == (
        "to run maskmill from a checkout, install it here first: pip install --editable '.[train]'; "
        "then run: maskmill --help\n"
    )
