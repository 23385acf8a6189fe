"""`maskmill demo`: from the documentation of the installed Python packages to a trained BERT, command by command."""

import gzip
import json
import shlex
import time
from pathlib import Path

import click

from maskmill.deploy.demo.python_docs import collect_documents
from maskmill.deploy.terminal.messages import is_given
from maskmill.deploy.terminal.tables import new_talk
from maskmill.pipeline.dataset.schema import MANIFEST
from maskmill.tokenizer.errors import InputError

VOCAB = "--vocab-size 5000"
GENERATE = "--format tokens --objective mlm --max-seq-length 32 --max-predictions-per-seq 5 --eval-fraction 0.05"
TRAIN = "--bert-config tiny --train-batch-size 64 --num-train-steps 7500"
# Chosen before the model that they are put to was trained; docs/training.md has the answers, the wrong ones too.
TEXTS = (
    "The function returns a [MASK].",
    "If the file does not [MASK], an error is raised.",
    "The default is [MASK].",
    "Returns the number of [MASK] in the list.",
    "Raises an [MASK] if the value is invalid.",
    "Return True if the object is an [MASK] of the class.",
)


def run_demo(output: Path, cli: click.Group) -> None:
    """Runs the steps into a folder, printing each command first. Steps that are done already are not done again.

    Raises InputError when the folder holds something else than a demo.
    """
    console = new_talk()
    corpus = output / "corpus" / "python_docs.jsonl.gz"
    if output.exists() and not corpus.exists() and any(not path.name.startswith(".") for path in output.iterdir()):
        raise InputError(f"output {output} holds something else than a demo", way_out="give a new folder with --output")
    started = time.monotonic()
    quiet = ["--quiet"] if is_given("--quiet") else []

    def step(title: str, command: str, result: Path | None = None) -> None:
        console.print(f"\n{title}", style="bold")
        console.print(f"$ maskmill {command}", style="bold cyan")
        if result and result.exists():
            console.print(f"Done before: {result} is there.")
            return
        cli.main([*shlex.split(command), *quiet], standalone_mode=False)

    console.print("1. Collect English from the documentation of the Python packages installed here", style="bold")
    if not corpus.exists():
        with console.status("Reading docstrings"):
            _write_corpus(corpus)
    console.print(f"Wrote {corpus}: JSON lines with a field 'text', one module or class a document")

    here = shlex.quote(str(output))
    dataset, model_dir = f"{here}/tokens", f"--model-dir {here}/model"
    step(
        "2. Train a vocabulary",
        f"vocab {here}/corpus --output {here}/vocab.txt {VOCAB}",
        output / "vocab.txt",
    )
    step(
        "3. Tokenize the documents, five in a hundred held out",
        f"generate {here}/corpus --vocab-file {here}/vocab.txt --output {dataset} {GENERATE} --overwrite",
        output / "tokens" / MANIFEST,
    )
    step("4. Look at them", f"inspect {dataset} -n 2")
    step("5. Train a small BERT", f"train {dataset} {model_dir} {TRAIN}")
    step("6. Evaluate it on the held-out documents", f"evaluate {dataset} {model_dir}")
    step("7. Fill a few masks", f"fill-mask {model_dir} {shlex.join(TEXTS)}")
    step(
        "8. Export it for Hugging Face",
        f"export {model_dir} --output {here}/huggingface",
        output / "huggingface",
    )
    console.print(
        f"\nThe whole demo took {time.monotonic() - started:.0f} s. On your own text: put it in a folder, "
        "and run the commands after $ with that folder in place of the corpus."
    )


def _write_corpus(path: Path) -> None:
    folder = path.parent.parent
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{path.name}.tmp"
    with gzip.open(temporary, "wt", encoding="utf-8") as file:
        for document in collect_documents():
            file.write(json.dumps({"id": document.id, "text": document.text}, ensure_ascii=False) + "\n")
    path.parent.mkdir(exist_ok=True)
    temporary.replace(path)
