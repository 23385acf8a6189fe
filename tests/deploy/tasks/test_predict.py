"""Predictions have the rows of the table in their order, whoever makes them."""

import csv
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import refuse, run
from engines import job_endpoint as job_endpoint  # a fixture
from small_classifier import CONFIG, rows, write_csv, write_model

from maskmill.deploy.tasks import prediction
from maskmill.deploy.tasks.predict_part import PredictPart, part_name
from maskmill.model.tasks.finetune_config import FinetuneConfig
from maskmill.model.tasks.finetuned import open_finetuned
from maskmill.model.tasks.finetuning import finetune
from maskmill.model.tasks.trained import open_trained
from maskmill.pipeline.storage.storage import claim_files
from maskmill.pipeline.tables.fields import Fields
from maskmill.pipeline.tables.labelled import read_labelled, split_off
from maskmill.pipeline.tables.predictions import join_parts, make_batch, write_part
from maskmill.pipeline.tables.rows import list_table_parts
from maskmill.tokenizer.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds `classifier`, and `new.jsonl` with rows that cannot be read among them."""
    folder = tmp_path_factory.mktemp("predict")
    write_model(folder / "model", random_seed=2)
    fields = Fields(label_field="label")
    found, _ = read_labelled(str(write_csv(folder / "table.csv", rows(60))), fields)
    config = FinetuneConfig(train_batch_size=16, learning_rate=5e-3, num_train_epochs=1, max_seq_length=32)
    finetune(open_trained(folder / "model"), *split_off(found, 0.25, 1), folder / "classifier", config)
    lines = [json.dumps({"text": row["text"]}) for row in rows(150)]
    lines[3], lines[70], lines[149] = json.dumps({"text": None}), "{", json.dumps({"text": "  "})
    (folder / "new.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def predicted(folder, output, *options):
    command = ["predict", folder / "new.jsonl", "--model-dir", folder / "classifier", "--output", output]
    printed = run(*command, *options)
    assert f"Wrote {output}: 150 rows" in printed
    assert "3 of 150 rows got no label: 1 field 'text' is empty; 1 field 'text' is null; 1 malformed JSON" in printed
    return output.read_bytes()


def test_rows_keep_their_order_and_number_and_a_bad_one_says_why(folder, tmp_path):
    predicted(folder, tmp_path / "new" / "out.csv")  # makes the folder
    with (tmp_path / "new" / "out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["label", "probability_neg", "probability_pos", "reason"]
    assert {place: row["reason"] for place, row in enumerate(table) if row["reason"]} == {
        3: "field 'text' is null", 70: "malformed JSON", 149: "field 'text' is empty",
    }  # fmt: skip
    assert table[3] | {"reason": ""} == dict.fromkeys(table[0], "")
    net = open_finetuned(folder / "classifier")
    ids = [net.vocab.ids[token] for token in ["[CLS]", *rows(150)[20]["text"].split(), "[SEP]"]]
    features = {"input_ids": np.array([ids], np.int32), "input_mask": np.ones((1, len(ids)), np.int32)}
    features["segment_ids"] = np.zeros_like(features["input_ids"])
    logits = np.asarray(net.model(features)["logits"])[0]
    expected = np.exp(logits) / np.exp(logits).sum()
    given = [float(table[20][f"probability_{label}"]) for label in net.labels]
    np.testing.assert_allclose(given, expected, atol=1e-5)
    assert table[20]["label"] == net.labels[int(expected.argmax())]


def test_every_format_holds_the_same(folder, tmp_path):
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        predicted(folder, tmp_path / name)
    parquet = pq.read_table(tmp_path / "out.parquet").to_pylist()
    jsonl = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    with (tmp_path / "out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(parquet) == len(jsonl) == len(table) == 150
    assert jsonl[3] == {"label": None, "probabilities": None, "reason": "field 'text' is null"}
    for one, other, third in zip(parquet, jsonl, table):
        assert one["label"] == other["label"] == (third["label"] or None)
        if one["label"]:
            values = [np.float32(one[f"probability_{label}"]) for label in ("neg", "pos")]
            assert values == [np.float32(value) for value in other["probabilities"].values()]
            assert values == [np.float32(third[f"probability_{label}"]) for label in ("neg", "pos")]
            assert sum(values) == pytest.approx(1, abs=1e-6)


def test_the_bytes_do_not_depend_on_who_does_the_work(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "PART_BYTES", 1500)
    alone = predicted(folder, tmp_path / "alone.csv")
    # By hand, without Beam, the parts in another order.
    backend = json.loads((folder / "classifier" / "finetuning.json").read_text())["backend"]
    model = open_finetuned(folder / "classifier").sha256
    work = PredictPart(str(folder / "classifier"), "best", backend, Fields(), "auto", str(tmp_path), model)
    parts = list(list_table_parts(str(folder / "new.jsonl"), 1500))
    assert len(parts) > 3
    for part in reversed(parts):
        work(part)
    paths = [str(tmp_path / part_name(part.number)) for part in parts]
    by_hand = str(tmp_path / "by_hand.csv")
    with claim_files([by_hand], overwrite=False) as claim:
        rows, reasons = join_parts(paths, claim, by_hand, ["neg", "pos"])
    assert (rows, reasons.total()) == (150, 3)
    with pytest.raises(InputError, match=r"the model in .* changed while it was used"):
        replace(work, model_sha256="of another")(parts[0])
    assert (tmp_path / "by_hand.csv").read_bytes() == alone


@pytest.mark.slow
def test_two_workers_give_the_bytes_of_one(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "PART_BYTES", 1500)
    for name in ("out.csv", "out.parquet"):
        alone = predicted(folder, tmp_path / f"alone-{name}")
        assert predicted(folder, tmp_path / f"two-{name}", "--num-workers", 2) == alone


@pytest.mark.slow
def test_a_job_server_gives_the_bytes_of_one_worker(folder, tmp_path, monkeypatch, job_endpoint):
    monkeypatch.setattr(prediction, "PART_BYTES", 1500)
    there = ["--runner", "portable", "--job-endpoint", job_endpoint, "--", "--environment_type=LOOPBACK"]
    alone = predicted(folder, tmp_path / "alone.csv")
    assert predicted(folder, tmp_path / "there.csv", *there) == alone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.csv", "there.csv"]


def test_a_vocabulary_that_does_not_fit_is_told_before_the_work(folder, tmp_path):
    (tmp_path / "new.csv").write_text("text\n猫 犬 cat\n")
    printed = run("predict", tmp_path / "new.csv", "--model-dir", folder / "classifier", "--output", tmp_path / "o.csv")
    assert printed.index("of the tokens are [UNK]: the vocabulary does not fit") < printed.index("Predicting")


def test_rows_of_nothing_but_reasons_are_a_batch(tmp_path):
    batch = make_batch(["a", "b"], np.zeros((0, 2), np.float32), ["why", "what"])
    assert batch.to_pylist()[1] == {"label": None, "probability_a": None, "probability_b": None, "reason": "what"}
    assert pa.types.is_float32(batch.schema.field("probability_a").type)


def test_formulas_are_escaped_where_that_is_asked_for(tmp_path):
    labels = ["=1+1", "@SUM(A1)", "-1", "-1+2", "+x", "pos"]
    batch = make_batch(labels, np.eye(6, dtype=np.float32), [None] * 6)
    write_part(str(tmp_path / "part"), labels, [batch])
    for escapes, expected in ((False, labels), (True, ["'=1+1", "'@SUM(A1)", "-1", "'-1+2", "'+x", "pos"])):
        output = str(tmp_path / "out.csv")
        with claim_files([output], overwrite=True) as claim:
            join_parts([str(tmp_path / "part")], claim, output, labels, escapes)
        with (tmp_path / "out.csv").open(newline="") as file:
            header, *table = csv.reader(file)
        assert [row[0] for row in table] == expected
        assert header[1] == "probability_=1+1"


def test_quotes_of_spark_cost_no_row(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prediction, "PART_BYTES", 1500)
    texts = [row["text"] for row in rows(300)]
    texts[99], texts[200] = '"the film, he said: \\"great\\""', '"she said, \\"poor\\""'
    (tmp_path / "spark.csv").write_text("id,text\n" + "".join(f"{i},{text}\n" for i, text in enumerate(texts)))
    command = ["predict", tmp_path / "spark.csv", "--model-dir", folder / "classifier"]
    assert ": 300 rows, in" in run(*command, "--output", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 300
    assert not any(row["reason"] for row in table)
    (tmp_path / "spark.csv").write_text('id,text\n1,fine\n2,"open\n3,poor\n4,"great, film"\n')
    said = refuse(*command, "--output", tmp_path / "other.csv")
    assert "spark.csv: the row that begins in line 3, at byte 15, takes in 3 lines by its quotes, and is" in said
    assert not (tmp_path / "other.csv").exists()


def test_what_cannot_be_predicted_is_one_sentence(folder, tmp_path):
    def refused(*options, table=folder / "new.jsonl", model=folder / "classifier", output="out.csv", exit_code=1):
        return refuse(
            "predict", table, "--model-dir", model, "--output", tmp_path / output, *options, exit_code=exit_code
        )

    assert "model holds no fine-tuned model" in refused(model=folder / "model")
    assert "does not tell its format; give a name that ends in .csv" in refused(output="out.txt", exit_code=2)
    assert "escape_formulas is for CSV, and output is" in refused("--escape-formulas", output="out.jsonl", exit_code=2)
    for field in ("--text-field", "--text-pair-field"):
        assert f"Invalid value for '{field}': it is empty; expected FIELD" in refused(field, "", exit_code=2)
    assert "text_pair_field is b, but the model was trained on single texts" in refused("--text-pair-field", "b")
    assert "nowhere.csv cannot be read" in refused(table=tmp_path / "nowhere.csv")
    assert "2 tables are given" in refused(folder / "table.csv", exit_code=2)
    refusal = refused("--text-field", "body", table=folder / "table.csv")
    assert "has no column body" in refusal
    assert "Predicting" not in refusal
    assert not (tmp_path / "out.csv").exists()
    (tmp_path / "out.csv").write_text("mine")
    assert "exists; give another name, or --overwrite" in refused()
    assert (tmp_path / "out.csv").read_text() == "mine"
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in (folder / "classifier").iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / "vocab.txt").write_text("".join(f"{i}\n" for i in range(CONFIG.vocab_size)))
    assert "copy the vocab.txt of the model there" in refused("--overwrite", model=damaged)
    (damaged / "checkpoint-best.safetensors").write_bytes(b"half")
    assert "checkpoint-best.safetensors is damaged (" in refused("--overwrite", model=damaged)
    (damaged / "finetuning.json").write_text("{}")
    with pytest.raises(InputError, match=r"finetuning.json is damaged \(it has no backend\)"):
        open_finetuned(damaged)
