"""How well a trained model predicts, by Google's metrics, over every example of a split."""

import math
import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from keras import ops

from maskmill.model.bert.heads import IS_RIGHT, SUMS, known_metrics
from maskmill.model.formats.model_dir import WhichCheckpoint, load_model, read_training
from maskmill.model.pretraining.batches import eval_batches, require_examples
from maskmill.model.pretraining.phases import check_fits
from maskmill.model.pretraining.plateau import MARGIN
from maskmill.model.pretraining.token_counts import Band, TokenCounts
from maskmill.model.training.distribution import ONE_DEVICE, Devices
from maskmill.model.training.memory import want_of_memory
from maskmill.model.training.step import Batch, EvalStep, Losses, eval_step
from maskmill.pipeline.dataset.dataset import Dataset
from maskmill.pipeline.dataset.schema import VOCAB, Split
from maskmill.pipeline.storage.storage import write_text
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import Vocab

EVAL_RESULTS = "eval_results.txt"
EVAL_BATCH_SIZE = 64  # on each device


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation of a checkpoint found in a split."""

    metrics: dict[str, float]  # those of `evaluate_split`, `global_step`, and `bits_per_character` where there are any
    masked_tokens: int
    examples: int
    random_next: float  # share of the examples whose label is 1
    guess: float  # the masked_lm_accuracy of always predicting the token that is masked most often
    bands: list[Band]  # the masked_lm_accuracy of rare and of frequent tokens

    @property
    def results(self) -> dict[str, float]:
        """All that was measured of the model by name: the content of `eval_results.txt`."""
        return {**self.metrics, **{band.name: band.masked_lm_accuracy for band in self.bands}}


def evaluate(
    dataset_dir: str | os.PathLike[str],
    model_dir: str | os.PathLike[str],
    split: Split = "eval",
    eval_batch_size: int = EVAL_BATCH_SIZE,
    checkpoint: WhichCheckpoint = "newest",
) -> dict[str, float]:
    """Evaluates a checkpoint -> the `results` of `measure` by name, also in `eval_results.txt` in `model_dir`.

    Raises InputError as `measure` does, or when that file cannot be written.
    """
    dataset = Dataset.open(dataset_dir, sealed=True)
    results = measure(dataset, model_dir, split, eval_batch_size, checkpoint).results
    write_results(model_dir, results)
    return results


def measure(
    dataset: Dataset,
    model_dir: str | os.PathLike[str],
    split: Split = "eval",
    eval_batch_size: int = EVAL_BATCH_SIZE,
    checkpoint: WhichCheckpoint = "newest",
) -> Evaluation:
    """Evaluates a checkpoint on every example of a split, and writes nothing.

    Raises InputError when the split is empty, or the dataset was made with another vocabulary or longer sequences than
    the model takes.
    """
    info, dataset_dir = dataset.info, dataset.directory
    require_examples(dataset, split)
    training = read_training(Path(model_dir))
    if training["vocab_sha256"] != info.vocab_sha256:
        raise InputError(
            f"was made with another vocabulary than {model_dir} was trained with",
            way_out=f"generate it with --vocab-file {Path(model_dir) / 'vocab.txt'}",
            path=dataset_dir,
        )
    if training["cased"] != info.config["cased"]:
        raise InputError(
            f"has cased={info.config['cased']}, {model_dir} was trained with cased={training['cased']}",
            way_out="generate the dataset as the model's was",
            path=dataset_dir,
        )
    # Computed as the training computed it, so that both come to the same numbers.
    model, global_step = load_model(model_dir, checkpoint, training["train_config"].get("precision", "float32"))
    check_fits(dataset, model.config)
    dataset.check_files(split)
    tokens = TokenCounts(Vocab.parse(dataset.read_vocab(), os.path.join(dataset_dir, VOCAB)))
    run_step = eval_step(model)
    labels = Counter[int]()

    def run_and_count(batch: Batch) -> Losses:
        losses = run_step(batch)
        labels.update(batch["next_sentence_labels"][batch["input_mask"][:, 0] > 0, 0].tolist())
        tokens.add(batch, ops.convert_to_numpy(losses[IS_RIGHT]))
        return losses

    with want_of_memory(f"a batch of {eval_batch_size:,} sequences", "a smaller --eval-batch-size"):
        metrics = evaluate_split(run_and_count, dataset, split, eval_batch_size)
    if characters := tokens.characters:
        bits = metrics["masked_lm_loss"] * tokens.masked_tokens / math.log(2)
        metrics["bits_per_character"] = bits / characters
    metrics["global_step"] = global_step
    examples = labels.total()
    random_next = labels[1] / examples
    return Evaluation(metrics, tokens.masked_tokens, examples, random_next, tokens.guess, list(tokens.bands()))


def write_results(model_dir: str | os.PathLike[str], results: dict[str, float]) -> None:
    """Writes `eval_results.txt` as Google's code does. Raises InputError when it cannot be written."""
    lines = [f"{name} = {value}\n" for name, value in sorted(results.items())]
    write_text(Path(model_dir) / EVAL_RESULTS, "".join(lines))


def evaluate_split(
    run_step: EvalStep,
    dataset: Dataset,
    split: Split,
    eval_batch_size: int,
    devices: Devices = ONE_DEVICE,
) -> dict[str, float]:
    """The metrics of a compiled evaluation step over every example of a split, by Google's names, and `perplexity`.

    They are exact: sums over the whole split, divided once. Of a dataset without pairs there is no next-sentence loss.
    """
    totals = dict.fromkeys(SUMS, 0.0)
    with closing(eval_batches(dataset, eval_batch_size, split, devices.host, devices.num_hosts)) as batches:
        for batch in batches:
            losses = run_step(devices.place(batch))
            for name in SUMS:
                totals[name] += float(losses[name])
    metrics = known_metrics(totals)
    return {**metrics, "perplexity": math.exp(min(metrics["masked_lm_loss"], 700.0))}


def rests_at_guess(accuracy: float, guess: float, predictions: int) -> bool:
    """Whether an accuracy over so many predictions is not clearly above that of a guess.

    It is clearly above when the gap is more than chance explains (two standard errors), and more than is reached with
    hardly any context (MARGIN). With very few predictions, or a guess that is nearly always right, no accuracy would
    be: False.

    >>> rests_at_guess(0.0681, 0.0680, 20_000), rests_at_guess(0.12, 0.0680, 20_000), rests_at_guess(0.5, 0.5, 4)
    (True, False, False)
    """
    standard_error = math.sqrt(guess * (1 - guess) / max(1, predictions))
    clearly_above = guess + 2 * standard_error + MARGIN
    return accuracy <= clearly_above < 1
