"""How often `maskmill compare` is wrong: two seeds of ours called different, or a real difference called chance.

    python benchmarks/bench_compare.py [--seeds 20] [--setting seq128]

Makes datasets of ../shared/corpus/books_sentences.txt.gz in memory, five copies each, by seeds of ours and by the
oracle of google-research/bert (tests/helpers/google_reference.py, which reproduces Google's own statistics in
books_stats.json), and compares all pairs. Prints the share of pairs below a p-value, which should be that p-value; the
design effects; the deviation between seeds that copies predict, beside the one that is found, and Google's. Exits 1
when more than 2 % of the pairs of seeds are called different, Google's output is not called agreeing but for the
repairs, or a masked_lm_prob of 0.13 or a share of random nexts of 0.5 is not found. Takes 1 GB of memory, 10 s of CPU a
seed, and a minute for Google's.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
from compare_with_google import config_of, make_oracle, make_ours, tokenize
from needs import SHARED, require

from maskmill.pipeline.analysis.compared_stats import ComparedStatistic, Portrait, compare_portraits
from maskmill.pipeline.analysis.significance import estimate_spread
from maskmill.pipeline.analysis.stats import DatasetStats
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.tokenizer.vocab import MASK, Vocab

HALF = 0.5  # the share of random nexts that is to be found, and is about 0.54
COPIES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=SHARED, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--setting", default="seq128", help="one of books_stats.json; default: %(default)s")
    options = parser.parse_args()
    require(golden := options.shared / "golden" / "books_stats.json", option="--shared")
    google = json.loads(golden.read_text(encoding="utf-8"))
    vocab = Vocab.load(options.shared / "corpus" / google["vocab"])
    pool = tokenize(options.shared / "corpus" / google["corpus"], vocab)
    config = config_of(google, options.setting, 0)

    def measure(batches, config: InstanceConfig, keep_random: float = 1.0) -> DatasetStats:
        stats = DatasetStats.empty(config.max_seq_length, config.max_predictions_per_seq, vocab.ids[MASK], len(vocab))
        rng = np.random.default_rng(1)
        for batch in batches:
            is_actual = np.asarray(batch["next_sentence_labels"])[:, 0] == 0
            kept = is_actual | (rng.random(len(is_actual)) < keep_random)
            stats.add({name: values[kept] for name, values in batch.items()})
        return stats

    def ours(seed: int, keep_random: float = 1.0, **changes: object) -> Portrait:
        copies = []
        for copy in range(COPIES):
            values = {**vars(config), "dupe_factor": 1, "random_seed": seed * COPIES + copy, **changes}
            changed = InstanceConfig(**values)
            copies.append(measure(make_ours(pool, vocab, changed), changed, keep_random))
        return Portrait(sum(copies[1:], copies[0]), [copies])

    seeds = []
    for seed in range(options.seeds):
        seeds.append(ours(seed))
        print(f"seed {seed + 1} of {options.seeds}", end="\r", file=sys.stderr)
    wrong = false_alarms(seeds, vocab)
    print_spread(seeds, google[options.setting])
    oracle = config_of(google, options.setting, 1)
    theirs = Portrait(measure(make_oracle(pool, vocab, oracle), oracle))
    share = theirs.stats.labels[1] / theirs.stats.examples
    few_nexts = Portrait(ours(options.seeds + 1, keep_random=HALF / (1 - HALF) * (1 - share) / share).stats)
    for name, one, other, expected in (
        ("Google's and ours", theirs, seeds[0], "repair"),
        ("masked_lm_prob 0.13", ours(options.seeds, masked_lm_prob=0.13), seeds[0], "predictions"),
        (
            "masked_lm_prob 0.13 and Google's",
            ours(options.seeds, masked_lm_prob=0.13),
            theirs,
            "predictions",
        ),
        (
            f"random nexts {few_nexts.stats.labels[1] / few_nexts.stats.examples:.1%}",
            few_nexts,
            seeds[0],
            "random next",
        ),
        ("the same and Google's", few_nexts, theirs, "random next"),
    ):
        rows = compare_portraits(one, other, vocab)
        verdicts = {row.name: row.verdict for row in rows if row.verdict in ("differs", "repair")}
        is_right = expected in verdicts if expected != "repair" else set(verdicts.values()) == {"repair"}
        wrong += not is_right
        print(f"{name}: {describe(rows, verdicts)}{'' if is_right else '  WRONG'}")
    sys.exit(1 if wrong else 0)


def false_alarms(seeds: list[Portrait], vocab: Vocab) -> int:
    """Prints how often chance is called a difference; returns whether that is too often."""
    pairs = [compare_portraits(a, b, vocab) for a, b in combinations(seeds, 2)]
    different = sum(any(row.verdict == "differs" for row in rows) for rows in pairs)
    print("| statistic | p < 0.05 | p < 0.01 | design effect | effect, median | largest |")
    print("|---|---|---|---|---|---|")
    for place, row in enumerate(pairs[0]):
        found = [one for rows in pairs if (one := rows[place].difference)]
        p, effects = np.array([one.p_value for one in found]), [one.effect for one in found]
        cells = [f"{(p < 0.05).mean():.3f}", f"{(p < 0.01).mean():.3f}"]
        cells += [f"{np.median([one.design_effect for one in found]):.1f}"]
        cells += [f"{np.median(effects):.4f}", f"{max(effects):.4f}"]
        print(f"| {row.name} | {' | '.join(cells)} |")
    for name, count in Counter(row.name for rows in pairs for row in rows if row.verdict == "differs").items():
        print(f"\n{name}: {count} pairs")
    print(f"\n{different} of {len(pairs)} pairs of seeds are called different")
    return int(different > 0.02 * len(pairs))  # one odd seed is in many pairs


def print_spread(seeds: list[Portrait], google: dict[str, dict[str, float]]) -> None:
    """The deviation of the share of random nexts between seeds: as copies tell it, as it is, and Google's."""
    shares = [portrait.stats.labels[1] / portrait.stats.examples for portrait in seeds]
    spreads = [
        estimate_spread([[stats.labels.astype(float) for stats in stratum] for stratum in portrait.strata])
        for portrait in seeds
    ]
    predicted = np.sqrt(np.mean([spread.variance[1, 1] for spread in spreads if spread]))
    binomial = np.sqrt(shares[0] * (1 - shares[0]) / seeds[0].stats.examples)
    print(
        f"share of random nexts: mean {np.mean(shares):.4f}, deviation between seeds {np.std(shares, ddof=1):.4f}, as "
        f"copies tell it {predicted:.4f}, binomial {binomial:.4f}; Google's, of {google['seeds']} seeds: mean "
        f"{google['nsp_random_frac']['mean']:.4f}, deviation {google['nsp_random_frac']['sd']:.4f}"
    )


def describe(rows: list[ComparedStatistic], verdicts: Mapping[str, str]) -> str:
    """The statistics that are not chance, with their figures."""
    return (
        "; ".join(f"{row.name} {row.a} and {row.b}: {row.verdict}" for row in rows if row.name in verdicts) or "agree"
    )


if __name__ == "__main__":
    main()
