"""What a start is worth for fine-tuning, and an optimizer: beside a random start, bags of words, and transformers.

    python benchmarks/bench_finetune.py --model-dir MODEL [MODEL ...] [--task TASK ...] [--method NAME ...]
        [--optimizer adamw google] [--learning-rate 3e-4 ...] [--seeds 5] [--log runs.jsonl]

MODEL is whatever `maskmill finetune` takes: a folder of `maskmill train`, however its weights were made, or a Hugging
Face folder. If it was trained on shards of FOLDER/books.jsonl.gz that were generated with --eval-fraction 0.05
(benchmarks/README.md has the commands), the chapters held out there are those held out here: the model saw nothing of
them, and no chapter is on both sides. Tasks:

- `book`: which of ten books is a paragraph from?
- `pair`: does paragraph B follow A, or is it from another chapter?
- `order`: which of two sentences is in the right order? In the other one two neighbouring words are swapped.

Methods: `pre-trained` begins with each MODEL, `random` with BERT's first weights in the shape of the first MODEL.
`bag-of-words` is a logistic regression on tf-idf of the words, of a pair on those of A, of B, and of both; its
regularisation is chosen on a fifth of the chapters to train on. `transformers` fine-tunes each MODEL, a Hugging Face
folder, with transformers and PyTorch on the same tokens (finetune_torch.py), where `make test-hf` put them.

Prints a Markdown table: means over seeds, and standard deviations, of the best epoch. The seeds take turns, and each
run that is done is a line of the --log: the same command goes on there.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import needs
import numpy as np
from finetune_tasks import TASKS, Task, make_task, read_chapters
from needs import CHAPTERS, CORPUS, require
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags, hstack
from scipy.special import log_softmax

from maskmill.model.bert.encoder import BertPretrainer
from maskmill.model.tasks.finetune_config import FinetuneConfig
from maskmill.model.tasks.finetuning import finetune
from maskmill.model.tasks.metrics import Confusion, accuracy, count_confusion, find_one_label, macro_f1
from maskmill.model.tasks.trained import TrainedBert, open_trained
from maskmill.model.training.metrics_log import read_metrics
from maskmill.pipeline.instances.seeding import hash_fraction
from maskmill.pipeline.tables.labelled import LabelledTexts
from maskmill.tokenizer.basic import split_words

STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3)  # of regularisation
METHODS = BAG, RANDOM, PRETRAINED, TRANSFORMERS = ("bag-of-words", "random", "pre-trained", "transformers")


@dataclass(frozen=True)
class Side:
    """What is compared: a start, and how it is fine-tuned."""

    method: str
    model_dir: str = ""
    optimizer: Any = ""
    learning_rate: float = 0.0

    @property
    def row(self) -> str:
        """Its cells in the table."""
        name = f"{self.method}, {Path(self.model_dir).name}" if self.model_dir else self.method
        return f"{name} | {self.optimizer} | {self.learning_rate or ''}"


@dataclass(frozen=True)
class Result:
    """How well the held-out rows are told apart: in the best epoch, that of the highest macro F1."""

    accuracy: float
    macro_f1: float
    is_one_label: bool  # whether (nearly) all are taken for one label
    epochs: list[float]  # the accuracy after each epoch
    seconds: float

    @classmethod
    def of(cls, best: Confusion, epochs: Sequence[float], began: float) -> "Result":
        """The result of a run that began at a time of `time.monotonic`."""
        is_one_label = find_one_label(best) is not None
        return cls(accuracy(best), macro_f1(best), is_one_label, list(epochs), time.monotonic() - began)


def list_sides(options: argparse.Namespace) -> list[Side]:
    """What is compared, in the order in which it runs."""
    sides = [Side(BAG)] if BAG in options.method else []
    for rate in options.learning_rate:
        if RANDOM in options.method:
            sides += [Side(RANDOM, options.model_dir[0], optimizer, rate) for optimizer in options.optimizer]
        for model_dir in options.model_dir:
            if PRETRAINED in options.method:
                sides += [Side(PRETRAINED, model_dir, optimizer, rate) for optimizer in options.optimizer]
            if TRANSFORMERS in options.method:
                sides.append(Side(TRANSFORMERS, model_dir, "torch's AdamW", rate))
    return sides


def run(side: Side, task: Task, seed: int, options: argparse.Namespace) -> Result:
    """One fine-tuning, or the regression."""
    if side.method == BAG:
        return run_bag_of_words(task)
    config = FinetuneConfig(
        learning_rate=side.learning_rate,
        num_train_epochs=options.epochs,
        max_seq_length=options.max_seq_length,
        precision=options.precision,
        random_seed=seed,
    )
    start = opened(side.model_dir)
    if side.method == TRANSFORMERS:
        return run_transformers(start, task, config)
    if side.method == RANDOM:
        start = replace(start, model=BertPretrainer(start.model.config, seed))
    return run_ours(start, task, replace(config, optimizer=side.optimizer))


@cache
def opened(model_dir: str) -> TrainedBert:
    return open_trained(model_dir)


def run_ours(start: TrainedBert, task: Task, config: FinetuneConfig) -> Result:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcome = finetune(start, task.train, task.held_out, folder, config)
        epochs = [row["eval_accuracy"] for row in read_metrics(Path(folder))]
    assert outcome.confusion is not None
    return Result.of(outcome.confusion, epochs, began)


def run_transformers(start: TrainedBert, task: Task, config: FinetuneConfig) -> Result:
    """The same on the other side, in a process of its own, on the tokens that ours has."""
    began = time.monotonic()
    labels = sorted(set(task.train.labels))
    arrays: dict[str, Any] = {"train_labels": task.train.label_ids(labels)}
    for part, rows in (("train", task.train), ("eval", task.held_out)):
        encoded = rows.encode(start.vocab, start.rules, config.max_seq_length)
        features = encoded.features(np.arange(len(encoded)), config.max_seq_length)
        arrays |= {f"{part}_{name}": values for name, values in features.items()}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/rows.npz", **arrays)
        script = Path(__file__).with_name("finetune_torch.py")
        command = [str(needs.TORCH_PYTHON), str(script), start.path, f"{folder}/rows.npz", json.dumps(asdict(config))]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    expected = task.held_out.label_ids(labels)
    epochs = [count_confusion(expected, found, len(labels)) for found in json.loads(printed.splitlines()[-1])]
    return Result.of(max(epochs, key=macro_f1), [accuracy(confusion) for confusion in epochs], began)


class BagOfWords:
    """tf-idf of the words of training rows, each row of length 1."""

    def __init__(self, train: LabelledTexts):
        self.words: dict[str, int] = {}
        rows = [Counter(split_words(text)) for text in [*train.texts, *(train.text_pairs or ())]]
        frequencies = Counter(word for row in rows for word in row)
        for word, frequency in frequencies.items():
            if frequency > 1:
                self.words[word] = len(self.words)
        self.idf = np.log(len(rows) / np.array([frequencies[word] for word in self.words])) + 1

    def matrix(self, found: LabelledTexts) -> csr_matrix:
        """Rows as they are told apart, [rows, features]."""
        a = self._one(found.texts)
        if found.text_pairs is None:
            return a
        b = self._one(found.text_pairs)
        shared = a.multiply(b)
        return csr_matrix(hstack([a, b, _normalized(csr_matrix(shared)), csr_matrix(shared.sum(axis=1))]))

    def _one(self, texts: Sequence[str]) -> csr_matrix:
        counts = [Counter(word for word in split_words(text) if word in self.words) for text in texts]
        places = [self.words[word] for row in counts for word in row]
        values = [1 + np.log(number) for row in counts for number in row.values()]
        offsets = np.cumsum([0, *map(len, counts)])
        return _normalized(csr_matrix((values, places, offsets), shape=(len(texts), len(self.words))) @ diags(self.idf))


def _normalized(matrix: csr_matrix) -> csr_matrix:
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return csr_matrix(diags(1 / np.maximum(lengths, 1e-12)) @ matrix)


def fit(x: csr_matrix, labels: np.ndarray, num_labels: int, strength: float) -> np.ndarray:
    """A multinomial logistic regression with L2 -> its weights, [features + 1, labels]."""
    x = csr_matrix(hstack([x, np.ones((x.shape[0], 1))]))
    rows = np.arange(len(labels))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(x.shape[1], num_labels)
        log_probs = log_softmax(x @ weights, axis=1)
        probs = np.exp(log_probs)
        probs[rows, labels] -= 1
        value = -log_probs[rows, labels].mean() + strength * (weights[:-1] ** 2).sum()
        gradient = x.T @ probs / len(labels)
        gradient[:-1] += 2 * strength * weights[:-1]
        return value, gradient.ravel()

    start, options = np.zeros(x.shape[1] * num_labels), {"maxiter": 100, "ftol": 1e-6}
    return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x.reshape(-1, num_labels)


def predict(x: csr_matrix, labels: np.ndarray, weights: np.ndarray) -> Confusion:
    """How many rows of each label are taken for each."""
    return count_confusion(labels, (x @ weights[:-1] + weights[-1]).argmax(axis=1), weights.shape[1])


def run_bag_of_words(task: Task) -> Result:
    began = time.monotonic()
    labels = sorted(set(task.train.labels))
    is_inner = np.array([hash_fraction(1, "inner", id) < 0.2 for id in task.chapters])
    inner, rest = (task.train.take(np.flatnonzero(rows).tolist()) for rows in (is_inner, ~is_inner))
    bag = BagOfWords(rest)
    x, y, x_inner, y_inner = bag.matrix(rest), rest.label_ids(labels), bag.matrix(inner), inner.label_ids(labels)

    def inner_accuracy(strength: float) -> float:
        return accuracy(predict(x_inner, y_inner, fit(x, y, len(labels), strength)))

    best = max(STRENGTHS, key=inner_accuracy)
    bag = BagOfWords(task.train)
    weights = fit(bag.matrix(task.train), task.train.label_ids(labels), len(labels), best)
    confusion = predict(bag.matrix(task.held_out), task.held_out.label_ids(labels), weights)
    return Result.of(confusion, [], began)


class Log:
    """The runs that are done, in a file of JSON lines where one is given."""

    def __init__(self, path: Path | None):
        self.path = path
        self.results: dict[str, Result] = {}
        if path and path.exists():
            for line in map(json.loads, path.read_text().splitlines()):
                self.results[json.dumps(line["run"])] = Result(**line["result"])

    def add(self, described: dict[str, Any], result: Result) -> None:
        """Keeps the result of a run."""
        self.results[json.dumps(described)] = result
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps({"run": described, "result": asdict(result)}) + "\n")


def describe_run(side: Side, task: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """All that decides a result."""
    settings = ("train_rows", "eval_rows", "epochs", "max_seq_length", "precision")
    return {"task": task, **asdict(side), "seed": seed, **{name: getattr(options, name) for name in settings}}


def print_table(tasks: Sequence[Task], sides: Sequence[Side], results: dict[tuple[str, Side], list[Result]]) -> None:
    print("| task | rows, held out | method | optimizer | rate | accuracy | macro F1 | at one label | s a run |")
    print("|---|---|---|---|---|---|---|---|---|")
    for task in tasks:
        rows = f"| {task.name} | {len(task.train):,}, {len(task.held_out):,}"
        most = Counter(task.held_out.labels).most_common(1)[0][1] / len(task.held_out)
        print(f"{rows} | always the most frequent label | | | {most:.3f} | | | |")
        for side in sides:
            found = results[task.name, side]
            fallen, seconds = sum(one.is_one_label for one in found), fmean(one.seconds for one in found)
            scores = [[one.accuracy for one in found], [one.macro_f1 for one in found]]
            told = " | ".join(map(describe_spread, scores))
            print(f"{rows} | {side.row} | {told} | {fallen} of {len(found)} | {seconds:.0f} |")


def describe_spread(values: Sequence[float]) -> str:
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model-dir", nargs="+", required=True)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--task", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument("--method", choices=METHODS, nargs="+", default=[BAG, RANDOM, PRETRAINED])
    parser.add_argument("--optimizer", choices=["adamw", "google"], nargs="+", default=[FinetuneConfig.optimizer])
    parser.add_argument("--learning-rate", type=float, nargs="+", default=[3e-4])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train-rows", type=int, default=2000)
    parser.add_argument("--eval-rows", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--max-seq-length", type=int, default=128)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--log", type=Path, help="a file that keeps each run that is done")
    options = parser.parse_args()
    require(options.corpus / CHAPTERS)
    if TRANSFORMERS in options.method and not needs.TORCH_PYTHON.exists():
        raise SystemExit(f"{needs.TORCH_PYTHON} is missing; 'make test-hf' installs it, or set HF_VENV")
    chapters = read_chapters(options.corpus)
    tasks = [make_task(name, chapters, options.train_rows, options.eval_rows) for name in options.task]
    for model_dir in options.model_dir:
        step = opened(model_dir).step
        steps = "an unknown number of" if step is None else f"{step:,}"  # None: others trained it
        print(f"{model_dir}: {steps} steps of pre-training", flush=True)
    sides, log = list_sides(options), Log(options.log)
    results: dict[tuple[str, Side], list[Result]] = defaultdict(list)
    for seed, side, task in product(range(1, options.seeds + 1), sides, tasks):
        if side.method == BAG and seed > 1:
            continue  # nothing of it is random
        described = describe_run(side, task.name, seed, options)
        if json.dumps(described) not in log.results:
            log.add(described, run(side, task, seed, options))
        results[task.name, side].append(log.results[json.dumps(described)])
    print_table(tasks, sides, results)


if __name__ == "__main__":
    main()
