"""What pre-training on a corpus is worth for telling its paragraphs apart: against a random start, and bags of words.

    python benchmarks/bench_finetune.py --model-dir MODEL [--corpus FOLDER] [--task TASK] [--method NAME] [--seeds 5]

MODEL was trained by `maskmill train` on shards of FOLDER/books.jsonl.gz that were generated with --eval-fraction 0.05
(benchmarks/README.md has the commands). The chapters held out there are those held out here: the model saw nothing of
them, and no chapter is on both sides. Tasks: `book`, which of ten books a paragraph is from; `pair`, whether paragraph
B follows A, else it is from another chapter. Prints a Markdown table: means over seeds, and standard deviations.

Bags of words are a logistic regression on tf-idf of the words, of a pair on those of A, of B, and of both; its
regularisation is chosen on a fifth of the chapters to train on.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
from needs import CHAPTERS, CORPUS, require
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, diags, hstack
from scipy.special import log_softmax

from model.bert import BertPretrainer
from model.tasks.finetune_config import FinetuneConfig
from model.tasks.finetuning import finetune
from model.tasks.metrics import accuracy, count_confusion, macro_f1
from model.trained import TrainedBert, open_trained
from pipeline.documents import content_of, digest_of
from pipeline.seeding import hash_fraction, rng_for
from pipeline.tables.fields import Fields
from pipeline.tables.labelled import LabelledTexts
from tokenizer.basic import split_words

EVAL_FRACTION, RANDOM_SEED = 0.05, 12345  # of `generate`, when the shards were made
SHORTEST = 200  # characters of a paragraph: shorter ones are mostly dialogue
STRENGTHS = (1e-6, 1e-5, 1e-4, 1e-3)  # of regularisation
TASKS = ("book", "pair")
METHODS = BAG, RANDOM, PRETRAINED = ("bag-of-words", "random", "pre-trained")


@dataclass(frozen=True)
class Chapter:
    """The longer paragraphs of a chapter."""

    id: str
    is_held_out: bool
    paragraphs: list[str]

    @property
    def book(self) -> str:
        """Its title, of an id such as `jane-austen_pride-and-prejudice/chapter-1`."""
        return self.id.partition("/")[0].partition("_")[2].partition("_")[0]


def read_chapters(corpus: Path) -> list[Chapter]:
    chapters = []
    with gzip.open(corpus / CHAPTERS, "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            # As `Pools.pool_of` divides documents.
            fraction = hash_fraction(RANDOM_SEED, "eval", digest_of(content_of(record["text"])))
            paragraphs = [one for one in record["text"].split("\n\n") if len(one) >= SHORTEST]
            chapters.append(Chapter(record["id"], fraction < EVAL_FRACTION, paragraphs))
    return chapters


def make_rows(task: str, chapters: Sequence[Chapter], most: int) -> tuple[LabelledTexts, list[str]]:
    """At most so many rows of a task, drawn from some chapters; and of which chapter each is."""
    rng = rng_for(0, "bench_finetune", task)
    rows: list[tuple[str, str, str, str]] = []  # chapter, text, text_pair, label
    if task == "book":
        rows = [(chapter.id, text, "", chapter.book) for chapter in chapters for text in chapter.paragraphs]
    else:
        usable = [chapter for chapter in chapters if len(chapter.paragraphs) > 1]
        for place, chapter in enumerate(usable):
            for a, b in zip(chapter.paragraphs[::2], chapter.paragraphs[1::2]):
                if is_next := rng.random() < 0.5:
                    other = b
                else:
                    elsewhere = usable[(place + 1 + int(rng.integers(len(usable) - 1))) % len(usable)]
                    other = elsewhere.paragraphs[int(rng.integers(len(elsewhere.paragraphs)))]
                rows.append((chapter.id, a, other, "next" if is_next else "other"))
    rows = [rows[row] for row in rng.permutation(len(rows))[:most]]
    ids, texts, pairs, labels = map(list, zip(*rows))
    fields = Fields("text", "text_pair" if task == "pair" else None, "label")
    return LabelledTexts(task, fields, texts, pairs if task == "pair" else None, labels), ids


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


def score(x: csr_matrix, labels: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Accuracy and macro F1."""
    predicted = (x @ weights[:-1] + weights[-1]).argmax(axis=1)
    confusion = count_confusion(labels, predicted, weights.shape[1])
    return accuracy(confusion), macro_f1(confusion)


def bag_of_words(train: LabelledTexts, ids: list[str], held_out: LabelledTexts) -> tuple[float, float]:
    """Accuracy and macro F1 of the regression on the held-out rows."""
    labels = sorted(set(train.labels))
    is_inner = np.array([hash_fraction(1, "inner", id) < 0.2 for id in ids])
    inner, rest = (train.take(np.flatnonzero(rows).tolist()) for rows in (is_inner, ~is_inner))
    bag = BagOfWords(rest)
    x, y, x_inner, y_inner = bag.matrix(rest), rest.label_ids(labels), bag.matrix(inner), inner.label_ids(labels)
    best = max(STRENGTHS, key=lambda strength: score(x_inner, y_inner, fit(x, y, len(labels), strength))[0])
    bag = BagOfWords(train)
    weights = fit(bag.matrix(train), train.label_ids(labels), len(labels), best)
    return score(bag.matrix(held_out), held_out.label_ids(labels), weights)


def finetuned(
    pretrained: TrainedBert,
    train: LabelledTexts,
    held_out: LabelledTexts,
    method: str,
    seed: int,
    options: argparse.Namespace,
) -> tuple[float, float]:
    """Accuracy and macro F1 of the best epoch of one fine-tuning."""
    start = pretrained
    if method == RANDOM:
        start = replace(pretrained, model=BertPretrainer(pretrained.model.config, seed))
    config = FinetuneConfig(
        learning_rate=options.learning_rate,
        num_train_epochs=options.epochs,
        max_seq_length=options.max_seq_length,
        precision=options.precision,
        random_seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        metrics = finetune(start, train, held_out, folder, config).metrics
    return metrics["accuracy"], metrics["macro_f1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model-dir", required=True)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--task", choices=TASKS, action="append")
    parser.add_argument("--method", choices=METHODS, action="append")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train-rows", type=int, default=2000)
    parser.add_argument("--eval-rows", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--max-seq-length", type=int, default=128)
    parser.add_argument("--precision", default="bfloat16")
    options = parser.parse_args()
    require(options.corpus / CHAPTERS)
    chapters = read_chapters(options.corpus)
    pretrained = open_trained(options.model_dir)
    steps = "an unknown number of" if pretrained.step is None else f"{pretrained.step:,}"  # None: others trained it
    print(f"{options.model_dir}: {steps} steps of pre-training")
    print("| task | rows, held out | method | accuracy | macro F1 | s a run |")
    print("|---|---|---|---|---|---|")
    for task in options.task or TASKS:
        train, ids = make_rows(task, [one for one in chapters if not one.is_held_out], options.train_rows)
        held_out, _ = make_rows(task, [one for one in chapters if one.is_held_out], options.eval_rows)
        rows = f"| {task} | {len(train):,}, {len(held_out):,}"
        most = Counter(held_out.labels).most_common(1)[0][1] / len(held_out)
        print(f"{rows} | always the most frequent label | {most:.3f} | | |", flush=True)
        for method in options.method or METHODS:
            began = time.monotonic()
            if method == BAG:
                scores = [bag_of_words(train, ids, held_out)]
            else:
                scores = [
                    finetuned(pretrained, train, held_out, method, seed, options)
                    for seed in range(1, options.seeds + 1)
                ]
            told = [
                f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
                for values in zip(*scores)
            ]
            seconds = (time.monotonic() - began) / len(scores)
            print(f"{rows} | {method} | {told[0]} | {told[1]} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
