"""`maskmill compare` tells datasets that are the same, that agree, and that differ."""

import json
import random
import shutil

import numpy as np
import pytest
from cloud import emulator
from command import maskmill, refuse, run
from google.cloud.storage import Client
from google_reference import create_instances
from hypothesis import given
from hypothesis import strategies as st
from look import MODEL_GARDEN, random_examples, write_shard

from maskmill.pipeline.analysis.compared_stats import SPECIAL
from maskmill.pipeline.analysis.comparing import Content, compare_datasets, digest_examples
from maskmill.pipeline.analysis.opened_datasets import open_dataset
from maskmill.pipeline.dataset.config import InstanceConfig
from maskmill.pipeline.dataset.schema import features
from maskmill.pipeline.records.tfrecord import read_records, write_records
from maskmill.pipeline.storage.store import CLOUD
from maskmill.tokenizer.vocab import SPECIAL_TOKENS, Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer

pytest.importorskip("scipy", reason="needs the [compare] extra")

CONFIG = InstanceConfig(max_seq_length=32, max_predictions_per_seq=5, dupe_factor=10)
OPTIONS = ["--max-seq-length", 32, "--max-predictions-per-seq", 5, "--shards-per-copy", 1]
VOCAB = Vocab([*SPECIAL_TOKENS, *(f"[unused{n}]" for n in range(10)), *(f"w{n}" for n in range(185))])


@pytest.fixture(scope="module")
def corpus():
    """500 documents of a few sentences, with words as frequent as in language."""
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(1, 186)
    return [
        [
            " ".join(f"w{word}" for word in rng.choice(185, rng.integers(4, 15), p=frequency / frequency.sum()))
            for _ in range(rng.integers(4, 13))
        ]
        for _ in range(500)
    ]


@pytest.fixture(scope="module")
def make(tmp_path_factory, corpus):
    """Datasets of the corpus by what `generate` is told beside; each is made once."""
    folder = tmp_path_factory.mktemp("comparing")
    (folder / "corpus.txt").write_text("\n\n".join("\n".join(document) for document in corpus) + "\n")
    (folder / "vocab.txt").write_text(VOCAB.to_text())
    made = {}

    def make(*options):
        if options not in made:
            made[options] = folder / f"dataset{len(made)}"
            run("generate", folder / "corpus.txt", "--vocab-file", folder / "vocab.txt", "--output", made[options],
                *OPTIONS, *options)  # fmt: skip
        return made[options]

    return make


def google_examples(corpus, config):
    """What Google's code makes of the corpus: arrays by feature."""
    tokenizer = FullTokenizer(VOCAB)
    documents = [[tokenizer.tokenize(sentence) for sentence in document] for document in corpus]
    instances = create_instances(documents, VOCAB.tokens, config, random.Random(12345))
    arrays = {
        one.name: np.zeros((len(instances), one.length), np.float32 if one.dtype == "float32" else np.int32)
        for one in features(config.max_seq_length, config.max_predictions_per_seq)
    }
    for row, instance in enumerate(instances):
        length, predictions = len(instance.tokens), len(instance.masked_lm_positions)
        arrays["input_ids"][row, :length] = [VOCAB.ids[token] for token in instance.tokens]
        arrays["input_mask"][row, :length] = 1
        arrays["segment_ids"][row, :length] = instance.segment_ids
        arrays["masked_lm_positions"][row, :predictions] = instance.masked_lm_positions
        arrays["masked_lm_ids"][row, :predictions] = [VOCAB.ids[token] for token in instance.masked_lm_labels]
        arrays["masked_lm_weights"][row, :predictions] = 1
        arrays["next_sentence_labels"][row] = instance.is_random_next
    return arrays


@pytest.fixture(scope="module")
def google(tmp_path_factory, corpus):
    """TFRecords of Google's code, under TF Model Garden's names, in two files."""
    folder = tmp_path_factory.mktemp("google")
    arrays = google_examples(corpus, CONFIG)
    for part in range(2):
        write_shard(
            folder / f"tf_examples.tfrecord-{part}",
            {name: values[part::2] for name, values in arrays.items()},
            MODEL_GARDEN,
        )
    (folder / "vocab.txt").write_text(VOCAB.to_text())
    return folder


def read_all(dataset):
    """All examples of a dataset: arrays by feature."""
    opened = open_dataset(dataset)
    batches = [batch for shard in opened.shards for batch in opened.read_batches(shard)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def compare(a, b):
    comparison = compare_datasets(open_dataset(a), open_dataset(b), 1)
    return comparison, {row.name: row for row in comparison.rows}


def with_share_of_random_nexts(dataset, folder, share):
    """The examples of a dataset without some of its random nexts, so that these have another share."""
    rng = np.random.default_rng(1)
    arrays = read_all(dataset)
    is_random = arrays["next_sentence_labels"][:, 0] == 1
    actual = np.flatnonzero(~is_random)
    wanted = round(len(actual) * share / (1 - share))
    kept = np.sort(np.concatenate([actual, rng.choice(np.flatnonzero(is_random), wanted, replace=False)]))
    folder.mkdir()
    write_shard(folder / "a.tfrecord", {name: values[kept] for name, values in arrays.items()})
    (folder / "vocab.txt").write_text(VOCAB.to_text())
    return folder


def test_googles_output_and_ours_agree_but_for_the_repairs(google, make):
    comparison, rows = compare(google, make())
    assert comparison.outcome == "agree but for repairs"
    assert comparison.spread_from == ("B",)
    assert {name for name, row in rows.items() if row.verdict == "repair"} == {SPECIAL}
    assert "ordinary tokens, never special" in rows[SPECIAL].note
    assert {row.verdict for name, row in rows.items() if name != SPECIAL} <= {"agrees", "same"}
    printed = run("compare", google, make())
    assert "A and B agree in distribution but for the repairs: random words are ordinary tokens" in printed


def test_special_random_words_that_do_not_come_from_the_whole_vocabulary_are_no_repair(google, make, tmp_path):
    shutil.copytree(google, tmp_path / "fewer")
    arrays = next(open_dataset(google).read_batches(open_dataset(google).shards[0], 10**6))
    rows, places = np.nonzero(arrays["masked_lm_weights"])
    positions = arrays["masked_lm_positions"][rows, places]
    is_special = (arrays["input_ids"][rows, positions] < 15) & (arrays["input_ids"][rows, positions] != 4)
    arrays["input_ids"][rows[is_special][::2], positions[is_special][::2]] = 20
    write_shard(tmp_path / "fewer" / "tf_examples.tfrecord-0", arrays, MODEL_GARDEN)
    comparison, rows_by_name = compare(tmp_path / "fewer", make())
    assert comparison.outcome == "differ"
    assert rows_by_name[SPECIAL].verdict == "differs"


def test_a_masking_probability_of_13_percent_is_found(make, google):
    other = make("--masked-lm-prob", 0.13)
    for dataset in (make(), google):
        comparison, rows = compare(dataset, other)
        assert comparison.outcome == "differ"
        assert rows["predictions"].verdict == "differs"
        assert rows["random next"].verdict in ("same", "agrees")
    result = maskmill("compare", make(), other)
    assert result.returncode == 1
    assert "│ masked_lm_prob │ 0.15 │ 0.13 │" in result.stdout
    assert "A and B differ: predictions (4." in result.stdout


def test_a_share_of_random_nexts_of_one_half_is_found(make, google, tmp_path):
    for dataset, other in ((make(), make("--random-seed", 2)), (google, make())):
        half = with_share_of_random_nexts(dataset, tmp_path / f"half of {dataset.name}", 0.5)
        comparison, rows = compare(half, other)
        assert rows["random next"].a == "50.00%"
        assert rows["random next"].verdict == "differs", rows["random next"]
        assert comparison.outcome == "differ"


def test_two_seeds_of_ours_agree(make):
    result = maskmill("compare", make(), make("--random-seed", 2), "--num-workers", 2)
    assert result.returncode == 0, result.stderr
    assert "How far chance reaches is from the copies of A and B." in result.stdout
    assert "A and B agree in distribution: they are no further apart than two random seeds are." in result.stdout


def test_another_share_of_short_documents_is_found(make):
    comparison, rows = compare(make(), make("--short-seq-prob", 0.3))
    assert comparison.outcome == "differ"
    assert rows["length"].verdict == "differs"
    assert rows["masking kinds"].verdict == "agrees"


def test_one_copy_in_several_pools_tells_its_spread_by_the_pools(make):
    a, b = (make("--dupe-factor", 1, "--shards-per-copy", 6, "--random-seed", seed) for seed in (1, 2))
    comparison, _ = compare(a, b)
    assert (comparison.outcome, comparison.spread_from) == ("agree", ("A", "B"))


def test_where_no_copies_tell_it_the_spread_is_assumed(google):
    halves = [google / f"tf_examples.tfrecord-{part}" for part in range(2)]
    comparison, _ = compare(*halves)
    assert (comparison.outcome, comparison.spread_from) == ("agree", ())
    assert "How far chance reaches is assumed (variance times 30)" in run("compare", *halves)


def test_the_same_bytes_are_the_same_whatever_the_files_are_called(make, tmp_path):
    for number, shard in enumerate(open_dataset(make()).shards):
        shutil.copy(shard.path, tmp_path / f"{number:05d}.tfrecord")
    comparison, _ = compare(make(), tmp_path)
    assert comparison.outcome == "same bytes"
    assert "A and B are the same, byte by byte." in run("compare", make(), tmp_path)


def test_bytes_are_read_and_not_believed(make, tmp_path):
    shutil.copytree(make(), tmp_path / "b")
    opened = open_dataset(tmp_path / "b")
    records = list(read_records(opened.shards[0].path))
    write_records(opened.shards[0].path, [[*records[1:], records[0]]])
    comparison, _ = compare(make(), tmp_path / "b")
    assert comparison.outcome == "same content"


def test_the_same_examples_in_other_files_other_order_and_other_encodings_are_the_same_content(google, tmp_path):
    whole = read_all(google)
    order = np.random.default_rng(1).permutation(len(whole["input_ids"]))
    write_shard(tmp_path / "a.tfrecord.gz", {name: values[order] for name, values in whole.items()}, compress=True)
    (tmp_path / "vocab.txt").write_text(VOCAB.to_text())
    comparison, _ = compare(google, tmp_path)
    assert comparison.outcome == "same content"
    whole["next_sentence_labels"][7] ^= 1
    write_shard(tmp_path / "a.tfrecord.gz", whole, compress=True)
    comparison, _ = compare(google, tmp_path)
    assert comparison.outcome == "agree"
    a, b = comparison.content["train"]
    assert (a.examples, a.digest == b.digest) == (b.examples, False)


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 12))
def test_content_is_that_of_a_multiset(seed, count, cut):
    arrays = random_examples(seed, count)
    order = np.random.default_rng(seed).permutation(count)
    rows = [digest_examples({name: values[row : row + 1] for name, values in arrays.items()}) for row in order]
    whole = digest_examples(arrays)
    assert sum(rows, Content()) == whole == digest_examples({name: values[order] for name, values in arrays.items()})
    assert whole + rows[0] != whole
    for name, values in arrays.items():
        changed = values.copy()
        changed[cut % count, -1] += 1
        assert digest_examples({**arrays, name: changed}).digest != whole.digest


def test_what_cannot_be_compared_differs_for_a_reason(make, google, tmp_path):
    arrays = random_examples(1, 50, 24, 5)
    arrays["segment_ids"][:] = arrays["next_sentence_labels"][:] = 0
    for name in ("input_ids", "masked_lm_ids"):
        arrays[name][arrays[name] == 4] = 14
    (tmp_path / "short").mkdir()
    write_shard(tmp_path / "short" / "a.tfrecord", arrays)
    comparison, _ = compare(make(), tmp_path / "short")
    assert comparison.reasons == (
        "max_seq_length is 32 in A and 24 in B",
        "the objective is nsp in A and mlm in B",
        "[MASK] has the id 4 in A and 14 in B",
    )
    result = maskmill("compare", make(), tmp_path / "short")
    assert result.returncode == 1
    assert "A and B differ: max_seq_length is 32 in A and 24 in B; the objective" in result.stdout
    shutil.copytree(google, tmp_path / "words")
    (tmp_path / "words" / "vocab.txt").write_text(VOCAB.to_text().replace("w7\n", "other\n"))
    comparison, _ = compare(make(), tmp_path / "words")
    assert comparison.reasons == ("their vocabularies differ, so that the same ids are other words",)


def test_another_number_of_predictions_differs_and_the_rest_is_compared(make, google, tmp_path):
    arrays = read_all(google)
    for name in ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights"):
        arrays[name] = arrays[name][:, :4]
    write_shard(tmp_path / "a.tfrecord", arrays)
    comparison, rows = compare(make(), tmp_path)
    assert comparison.outcome == "differ"
    assert comparison.reasons == ("max_predictions_per_seq is 5 in A and 4 in B",)
    assert rows["predictions"].verdict == "differs"
    assert rows["length"].verdict == "agrees"


def test_another_corpus_has_other_words(make, google, tmp_path):
    arrays = read_all(google)
    for name in ("input_ids", "masked_lm_ids"):
        arrays[name][arrays[name] == VOCAB.ids["w1"]] = VOCAB.ids["w184"]
    write_shard(tmp_path / "a.tfrecord", arrays)
    comparison, rows = compare(make(), tmp_path)
    assert comparison.outcome == "differ"
    assert {name for name, row in rows.items() if row.verdict == "differs"} == {"words"}


def test_json_tells_programs_all_of_it(make, google):
    values = json.loads(run("compare", google, make(), "--json"))
    assert values["outcome"] == "agree but for repairs"
    assert [row["name"] for row in values["statistics"] if row["verdict"] == "repair"] == [SPECIAL]
    assert len(values["content"]["train"]) == 2
    for row in values["statistics"]:
        assert 0 <= row["difference"]["p_value"] <= 1


def test_a_dataset_in_cloud_storage_is_compared_alike(make, monkeypatch):
    with emulator() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        CLOUD.forget()  # of another test's emulator
        bucket = Client().bucket("comparing")
        bucket.create()
        for path in make().iterdir():
            if path.is_file():
                bucket.blob(f"shards/{path.name}").upload_from_filename(path)
        assert compare(make(), "gs://comparing/shards")[0].outcome == "same bytes"


def test_damage_is_named_and_no_dataset_is_refused(make, tmp_path):
    shutil.copytree(make(), tmp_path / "b")
    path = tmp_path / "b" / open_dataset(make()).shards[1].name
    path.write_bytes(path.read_bytes()[:-5])
    assert f"{path}, record" in refuse("compare", make(), tmp_path / "b")
    assert "is no dataset" in refuse("compare", make(), tmp_path / "absent")
