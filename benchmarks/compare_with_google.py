"""The statistics of our instances beside those of google-research/bert, over several random seeds.

    python benchmarks/compare_with_google.py [--seeds 8] [--setting seq128] [--oracle]

Prints a Markdown table for each setting of ../shared/golden/books_stats.json. Exits 1 when a statistic is DIFFERENT:
when the means are more than three standard deviations of a single seed apart, taking the larger of Google's and ours.
Google's come from two to four seeds and may be far off, so `t`, the two-sample t with the deviation pooled over both,
stands beside. A histogram is compared by total variation: where Google's mean would stand is its distance from our
mean, where ours would stand is how far a single seed of ours is from the mean of the others.

--oracle settles a borderline row: it puts tests/helpers/google_reference.py in the place of Google's few seeds, the
same rules without our repairs, run now on as many seeds as ours. (With the documents in the order of their file and
random_seed 1, 2, ... it reproduces books_stats.json exactly.) All needs 2 GB of memory and 4 s of CPU a seed, 25 s for
the oracle.
"""

import argparse
import ast
import json
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from needs import ROOT, SHARED, require

sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import google_reference

from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import features
from maskmill.pipeline.instances.masking import Masker
from maskmill.pipeline.instances.packed import PackedPool
from maskmill.pipeline.instances.pairs import pair_documents, truncate_pairs
from maskmill.pipeline.instances.pools import Pool, pack_document
from maskmill.pipeline.instances.segments import assemble
from maskmill.pipeline.reading.documents import Document, ReadOptions, content_of, digest_of
from maskmill.pipeline.reading.files import FilePart
from maskmill.pipeline.reading.parts import read_documents
from maskmill.pipeline.reading.sentences import split_sentences
from maskmill.pipeline.records.examples import ExampleEncoder
from maskmill.tokenizer.fast import FastTokenizer, id_dtype
from maskmill.tokenizer.vocab import CLS, MASK, SEP, UNK, Vocab

# Google's statistics are rounded, and some vary so little that it shows. Five decimals, but for these:
DECIMALS = {"bytes_per_record": 1, "random_uniform_chi2_19df": 1, "mean_len": 3, "pred_per_seq": 4, "unk_frac": 6}
CHI2, ORDINARY_CHI2 = "random_uniform_chi2_19df", "random_uniform_chi2_19df, ordinary tokens"
# What a repair makes of a statistic: random words are ordinary tokens, which most of the first 1,000 are not.
REPAIRS = {"random_special_ids": lambda ours: max(ours) == 0, CHI2: lambda ours: min(ours) > 1000}
BATCH = 4096

Arrays = dict[str, Any]  # feature -> [instances, its length]
Statistics = dict[str, Any]  # name -> a number, or a histogram as bin -> share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=8, help="3 or more; default: %(default)s")
    parser.add_argument("--setting", help="one of books_stats.json, such as seq128; default: one after another")
    parser.add_argument("--oracle", action="store_true", help="compare with the oracle instead of Google's numbers")
    options = parser.parse_args()
    require(golden := options.shared / "golden" / "books_stats.json", option="--shared")
    google = json.loads(golden.read_text(encoding="utf-8"))
    vocab = Vocab.load(options.shared / "corpus" / google["vocab"])
    pool = tokenize(options.shared / "corpus" / google["corpus"], vocab)
    different = 0
    for setting in [options.setting] if options.setting else [name for name in google if name.startswith("seq")]:
        configs = [config_of(google, setting, seed) for seed in range(options.seeds)]
        ours = [measure(make_ours(pool, vocab, config), vocab, config) for config in configs]
        theirs = {**google[setting], ORDINARY_CHI2: google[setting][CHI2], "errors": {"mean": 0, "sd": 0}}
        if options.oracle:
            theirs = summarise([measure(make_oracle(pool, vocab, config), vocab, config) for config in configs])
        print(f"\n{setting}, {theirs['seeds']} seeds of {'the oracle' if options.oracle else 'Google'},", end=" ")
        print(f"{options.seeds} of ours:\n")
        different += print_table(theirs, ours)
    sys.exit(f"\n{different} DIFFERENT" if different else 0)


def tokenize(corpus: Path, vocab: Vocab) -> Pool:
    tokenizer, packed = FastTokenizer(vocab), []
    for document in read_documents(FilePart(str(corpus)), ReadOptions()):
        assert isinstance(document, Document), document
        sentences = split_sentences(document, ReadOptions())
        ids, offsets = tokenizer.encode(sentences)
        lengths = np.diff(offsets)
        packed.append(pack_document(digest_of(content_of(document.text)), ids, lengths[lengths > 0]))
    return PackedPool.gather(packed, id_dtype(len(vocab))).unpack(InstanceConfig(), vocab.ids["[UNK]"])


def config_of(google: Statistics, setting: str, random_seed: int) -> InstanceConfig:
    """The configuration of one of Google's settings; its lengths stand in the schema of the records."""
    schema = ast.literal_eval(next(iter(google[setting]["schemas"])))
    return InstanceConfig(
        max_seq_length=schema["input_ids"],
        max_predictions_per_seq=schema["masked_lm_ids"],
        whole_word_mask=setting.endswith("whole_word_mask"),
        random_seed=random_seed,
        **{name: google["settings"][name] for name in ("masked_lm_prob", "short_seq_prob", "dupe_factor")},
    )


def make_ours(pool: Pool, vocab: Vocab, config: InstanceConfig) -> Iterator[Arrays]:
    rng = np.random.default_rng([config.random_seed, config.max_seq_length, config.whole_word_mask])
    masker = Masker(vocab, config)
    for _ in range(config.dupe_factor):
        pairs = truncate_pairs(pair_documents(pool, config, rng)[0], config.max_num_tokens, rng)
        for start in range(0, len(pairs), BATCH):
            segments = assemble(pool.ids, pairs[start : start + BATCH], config.max_seq_length, vocab)
            input_ids, predictions = masker.mask(segments, rng)
            yield {
                **vars(predictions),
                "input_ids": input_ids,
                "input_mask": segments.input_mask,
                "segment_ids": segments.segment_ids,
                "next_sentence_labels": segments.is_random_next[:, None],
            }


def make_oracle(pool: Pool, vocab: Vocab, config: InstanceConfig) -> Iterator[Arrays]:
    tokens = [vocab.tokens[id] for id in pool.ids.tolist()]
    sentences = [tokens[start:end] for start, end in zip(pool.sentence_offsets[:-1], pool.sentence_offsets[1:])]
    documents = [sentences[first:end] for first, end in zip(pool.document_offsets[:-1], pool.document_offsets[1:])]
    rng = random.Random(config.random_seed)
    instances = google_reference.create_instances(documents, vocab.tokens, config, rng)
    for start in range(0, len(instances), BATCH):
        batch = instances[start : start + BATCH]
        arrays = {
            feature.name: np.zeros((len(batch), feature.length), np.int32)
            for feature in features(config.max_seq_length, config.max_predictions_per_seq)
        }
        for row, instance in enumerate(batch):
            length, predictions = len(instance.tokens), len(instance.masked_lm_positions)
            arrays["input_ids"][row, :length] = [vocab.ids[token] for token in instance.tokens]
            arrays["input_mask"][row, :length] = 1
            arrays["segment_ids"][row, :length] = instance.segment_ids
            arrays["masked_lm_positions"][row, :predictions] = instance.masked_lm_positions
            arrays["masked_lm_ids"][row, :predictions] = [vocab.ids[token] for token in instance.masked_lm_labels]
            arrays["masked_lm_weights"][row, :predictions] = 1
            arrays["next_sentence_labels"][row] = instance.is_random_next
        yield arrays


def measure(batches: Iterable[Arrays], vocab: Vocab, config: InstanceConfig) -> Statistics:
    """The statistics of books_stats.json, rounded as there."""
    encoder = ExampleEncoder(features(config.max_seq_length, config.max_predictions_per_seq))
    batches = list(batches)
    size = sum(16 + len(record) for batch in batches for record in encoder.encode(batch))
    every = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    input_ids, segment_ids, positions = every["input_ids"], every["segment_ids"], every["masked_lm_positions"]
    lengths, predictions = every["input_mask"].sum(axis=1), every["masked_lm_weights"].sum(axis=1).astype(int)
    instances, tokens, predicted = len(lengths), int(lengths.sum()), int(predictions.sum())
    wanted = np.clip(np.rint(lengths * config.masked_lm_prob), 1, config.max_predictions_per_seq)

    is_token = np.arange(input_ids.shape[1]) < lengths[:, None]
    is_prediction = np.arange(positions.shape[1]) < predictions[:, None]
    length_a = (is_token & (segment_ids == 0)).sum(axis=1)  # with [CLS] and [SEP]
    row, position, label = is_prediction.nonzero()[0], positions[is_prediction], every["masked_lm_ids"][is_prediction]
    shown = input_ids[row, position]
    is_mask, is_kept = shown == vocab.ids[MASK], shown == label
    random_ids, ordinary = shown[~is_mask & ~is_kept], np.array(vocab.ordinary_ids)
    ordinary_ranks = np.searchsorted(ordinary, random_ids[np.isin(random_ids, ordinary)])

    original, is_chosen = input_ids.copy(), np.zeros(input_ids.shape, np.bool_)
    original[row, position], is_chosen[row, position] = label, True
    unique = len({hash(sequence.tobytes()) for sequence in original})
    is_special = (original == vocab.ids[CLS]) | (original == vocab.ids[SEP])
    is_text = is_token & ~is_special
    continues = np.array([token.startswith("##") for token in vocab.tokens])[original]
    continues[:, 1:] &= is_text[:, :-1]  # a word does not reach across [SEP]
    word = np.cumsum(is_text & ~continues).reshape(input_ids.shape)
    pieces = np.bincount(word[is_text])
    chosen = np.bincount(word[is_chosen], minlength=len(pieces))
    is_touched = (pieces > 1) & (chosen > 0)

    broken_rules = (
        every["input_mask"] != is_token,
        ~is_token & ((input_ids != 0) | (segment_ids != 0)),
        is_special.sum(axis=1) != 3,
        ~is_special[:, 0] | ~np.take_along_axis(is_special, lengths[:, None] - 1, axis=1)[:, 0],
        (length_a >= lengths) | ~np.take_along_axis(is_special, length_a[:, None] - 1, axis=1)[:, 0],
        every["masked_lm_weights"] != is_prediction,
        ~is_prediction & ((positions != 0) | (every["masked_lm_ids"] != 0)),
        is_prediction[:, 1:] & (np.diff(positions, axis=1) <= 0),
        is_special[row, position],
    )
    numbers = {
        "instances": instances,
        "bytes_per_record": size / instances,
        "unique_original_seqs": unique,
        "dup_frac": 1 - unique / instances,
        "nsp_random_frac": every["next_sentence_labels"].mean(),
        "mean_len": tokens / instances,
        "pad_frac": 1 - tokens / is_token.size,
        "full_len_frac": (lengths == config.max_seq_length).mean(),
        "pred_per_seq": predicted / instances,
        "pred_frac_of_tokens": predicted / tokens,
        "pred_count_mismatch_frac": (predictions != wanted).mean(),
        "mask_frac": is_mask.mean(),
        "keep_frac": (is_kept & ~is_mask).mean(),
        "random_frac": len(random_ids) / predicted,
        "random_special_ids": (random_ids < 5).sum(),
        CHI2: chi2(random_ids * 20 // len(vocab)),
        ORDINARY_CHI2: chi2(ordinary_ranks * 20 // len(ordinary)),
        "unk_frac": (original == vocab.ids[UNK]).sum() / tokens,
        "subword_words_touched": is_touched.sum(),
        "partial_word_mask_frac": (chosen < pieces)[is_touched].mean(),
        "errors": sum(broken.sum() for broken in broken_rules),
    }
    length_step, prediction_step = max(8, config.max_seq_length // 16), max(1, config.max_seq_length // 128)
    return {name: round(float(number), DECIMALS.get(name, 5)) for name, number in numbers.items()} | {
        "seg_a_share_hist": shares(np.minimum(9, length_a * 10 // lengths), 9),
        "mask_rel_pos_hist": shares(np.minimum(9, position * 10 // lengths[row]), 9),
        "len_hist": shares(lengths, config.max_seq_length, length_step),
        "npred_hist": shares(predictions, config.max_predictions_per_seq, prediction_step),
    }


def shares(values: Any, largest: int, step: int = 1) -> dict[str, float]:
    counts = np.bincount(values // step, minlength=largest // step + 1)
    return {str(bin * step): number / len(values) for bin, number in enumerate(counts.tolist())}


def chi2(bins: Any) -> float:
    """How far numbers below 20 are from uniform, with 19 degrees of freedom."""
    counts, expected = np.bincount(bins, minlength=20), len(bins) / 20
    return float(((counts - expected) ** 2).sum() / expected)


def summarise(runs: list[Statistics]) -> Statistics:
    """The statistics of several seeds in the form of books_stats.json."""
    summary: Statistics = {"seeds": len(runs)}
    for name in runs[0]:
        values = [run[name] for run in runs]
        if isinstance(values[0], dict):
            summary[name] = {bin: np.mean([hist[bin] for hist in values]) for bin in values[0]}
        else:
            summary[name] = {"mean": np.mean(values), "sd": np.std(values, ddof=1)}
    return summary


def print_table(theirs: Statistics, runs: list[Statistics]) -> int:
    """Prints a row for each statistic; returns the number of those that are DIFFERENT."""
    ours, different = summarise(runs), 0
    print("| statistic | Google | its sd | ours | our sd | apart / its sd | apart / our sd | t | |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in runs[0]:
        if "mean" in ours[name]:
            label, mean, sd = name, theirs[name]["mean"], theirs[name]["sd"]
            our_mean, our_sd = ours[name]["mean"], ours[name]["sd"]
            apart = our_mean - mean
            weights = (theirs["seeds"] - 1, len(runs) - 1)
            pooled = np.sqrt(np.average([sd**2, our_sd**2], weights=weights) * (1 / theirs["seeds"] + 1 / len(runs)))
        else:
            label, mean, sd, pooled = f"{name}, total variation", distance(theirs[name], ours[name]), None, None
            chance = [
                distance(run[name], summarise([other for other in runs if other is not run])[name]) for run in runs
            ]
            our_mean, our_sd = np.mean(chance), np.std(chance, ddof=1)
            apart = max(0.0, mean - our_mean)
        is_repair = name in REPAIRS and REPAIRS[name]([run[name] for run in runs])
        is_ok = abs(apart) <= 3 * max(sd or 0, our_sd)
        different += not is_ok and not is_repair
        cells = [f"{number:.6g}" if number is not None else "" for number in (mean, sd, our_mean, our_sd)]
        cells += [ratio(abs(apart), sd), ratio(abs(apart), our_sd), ratio(apart, pooled)]
        print(f"| {label} | {' | '.join(cells)} | {'ok' if is_ok else 'repair' if is_repair else 'DIFFERENT'} |")
    return different


def distance(hist: Any, other: dict[str, float]) -> float:
    """The total variation between two histograms; the first may lack empty bins, or their names."""
    hist = hist if isinstance(hist, dict) else dict(zip(other, hist))
    return sum(abs(hist.get(bin, 0.0) - share) for bin, share in other.items()) / 2


def ratio(apart: float, sd: float | None) -> str:
    return "" if sd is None else f"{apart / sd:.1f}" if sd else "inf" if apart else "0.0"


if __name__ == "__main__":
    main()
