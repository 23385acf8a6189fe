"""What benchmarks need besides the package: texts, and PyTorch in an environment of its own."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
CORPUS = SHARED / "corpus"
VOCAB, ENGLISH = "bert-base-uncased-vocab.txt", "books_sentences.txt.gz"
CHAPTERS, CHINESE = "books.jsonl.gz", "zh_poems.jsonl.gz"
TORCH_PYTHON = Path(os.environ.get("HF_VENV", ROOT / ".venv-hf")).absolute() / "bin" / "python"


def require(*files: Path, option: str = "--corpus") -> None:
    """Ends the script with one sentence where files are missing, which names the option that says where they are."""
    if missing := [str(file) for file in files if not file.exists()]:
        raise SystemExit(f"Not found: {', '.join(missing)}; say where with {option}")


def leave_out_torch(sides: list[tuple]) -> list[tuple]:
    """The sides that can be measured: those of PyTorch only where it is installed. Says what is left out."""
    if TORCH_PYTHON.exists() or not (left_out := [side for side in sides if side[0] == "torch"]):
        return sides
    print(f"Left out: PyTorch, as {TORCH_PYTHON} is missing; 'make test-hf' installs it")
    if len(left_out) == len(sides):
        raise SystemExit("Nothing is left to measure")
    return [side for side in sides if side not in left_out]
