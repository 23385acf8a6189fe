"""Texts to vectors: as defined, whatever the batch; and the files that the command writes."""

import json
import resource

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cloud import emulator
from command import refuse, run
from google.cloud.storage import Client
from small_model import POSITIONS, make_model, write_model

from maskmill.model.formats.export import export
from maskmill.model.tasks.embed import Embedder, embed
from maskmill.model.tasks.embed_config import EmbedConfig
from maskmill.model.tasks.trained import TrainedBert
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.wordpiece import FullTokenizer

WINDOW = POSITIONS - 2  # tokens beside [CLS] and [SEP]


@pytest.fixture(scope="module")
def trained(small_vocab):
    return TrainedBert("model", make_model(small_vocab), small_vocab)


@pytest.fixture(scope="module")
def texts(corpus_lines):
    return [line for document in corpus_lines for line in document][:60]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_vocab):
    return write_model(tmp_path_factory.mktemp("embed") / "model", small_vocab)[0]


def states_of(trained, text, first=0):
    """All hidden states of one window of a text alone, [layers + 1, tokens, hidden], by the readable tokenizer."""
    vocab = trained.vocab
    ids = FullTokenizer(vocab, trained.rules).encode(text)[first : first + WINDOW]
    row = np.array([[vocab.ids["[CLS]"], *ids, vocab.ids["[SEP]"]]], np.int32)
    states, _ = trained.model.encoder.all_layers(row, np.ones_like(row), np.zeros_like(row))
    return np.stack([np.asarray(state)[0] for state in states])


@pytest.mark.parametrize(("pooling", "pool"), [
    ("mean", lambda states: states.mean(axis=0)),
    ("max", lambda states: states.max(axis=0)),
    ("cls", lambda states: states[0]),
])  # fmt: skip
def test_a_text_has_the_vector_that_it_has_alone(trained, texts, pooling, pool):
    """Padded to any length, among any others, compiled or not."""
    expected = np.stack([pool(states_of(trained, text)[-1]) for text in texts])
    for batch_tokens in (None, 64):
        config = EmbedConfig(pooling=pooling, batch_tokens=batch_tokens)
        vectors = embed(trained, texts, config)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("layers", "numbers"), [("last", [2]), ("0,2", [0, 2]), ("1", [1]), ("2,1,0", [2, 1, 0])])
def test_layers_stand_side_by_side_in_the_order_given(trained, texts, layers, numbers):
    vectors = embed(trained, texts[:5], EmbedConfig(layers))
    expected = [np.concatenate([states_of(trained, text)[n].mean(axis=0) for n in numbers]) for text in texts[:5]]
    np.testing.assert_allclose(vectors, np.stack(expected), rtol=0, atol=1e-6)


def test_last4_are_the_last_four():
    assert EmbedConfig("last4").layer_numbers(12) == EmbedConfig("9,10,11,12").layer_numbers(12)


def test_tokens_have_a_vector_each(trained, texts):
    embedder = Embedder(trained, EmbedConfig(pooling="tokens", batch_tokens=64))
    for text, embedding in zip(texts, embedder.embed(texts)):
        tokens = ["[CLS]", *FullTokenizer(trained.vocab).tokenize(text), "[SEP]"]
        assert [trained.vocab.tokens[id] for id in embedding.token_ids] == tokens
        np.testing.assert_allclose(embedding.vector, states_of(trained, text)[-1], rtol=0, atol=1e-6)


def test_a_long_text_is_cut_and_that_is_told(trained, texts):
    exact, long = "cat " * WINDOW, "cat " * WINDOW + "dog"
    fits, cut = Embedder(trained).embed([exact, long])
    assert (fits.is_cut, fits.num_tokens, fits.num_windows) == (False, WINDOW, 1)
    assert (cut.is_cut, cut.num_tokens, cut.num_windows) == (True, WINDOW + 1, 1)
    np.testing.assert_allclose(cut.vector, fits.vector, atol=1e-6)
    (short,) = Embedder(trained, EmbedConfig(max_seq_length=8)).embed([long])
    assert len(short.token_ids) == 8


@pytest.mark.parametrize(("pooling", "together"), [("mean", np.mean), ("cls", np.mean), ("max", np.max)])
def test_with_a_stride_all_windows_of_a_long_text_count(trained, texts, pooling, together, monkeypatch):
    monkeypatch.setattr(
        "maskmill.model.tasks.embed.MOST_WINDOWS", 2
    )  # the windows of a text need not be in memory at once
    long = " ".join(texts)
    num_tokens = len(FullTokenizer(trained.vocab).encode(long))
    starts = [*range(0, num_tokens - WINDOW, 20), num_tokens - WINDOW]
    pool = {"mean": lambda x: x.mean(axis=0), "max": lambda x: x.max(axis=0), "cls": lambda x: x[0]}[pooling]
    expected = together([pool(states_of(trained, long, start)[-1]) for start in starts], axis=0)
    short, found, _ = Embedder(trained, EmbedConfig(pooling=pooling, stride=20)).embed([texts[0], long, texts[1]])
    assert (short.num_windows, found.num_windows, found.is_cut) == (1, len(starts), False)
    np.testing.assert_allclose(found.vector, expected, rtol=0, atol=1e-6)


def test_float16_is_the_rounded_vector_and_bfloat16_near_it(trained, texts, small_vocab):
    exact = embed(trained, texts)
    np.testing.assert_array_equal(embed(trained, texts, EmbedConfig(dtype="float16")), exact.astype(np.float16))
    fast = TrainedBert("model", make_model(small_vocab, compute_dtype="bfloat16"), small_vocab)
    difference = np.abs(embed(fast, texts) - exact).max()
    assert 1e-5 < difference < 0.1


def test_no_texts_have_no_vectors_and_a_text_of_nothing_has_one(trained):
    assert embed(trained, []).shape == (0, 16)
    (vector,) = embed(trained, ["\u200b"])
    assert np.isfinite(vector).all()


@pytest.mark.parametrize(("config", "sentence"), [
    ({"layers": "first"}, "layers is first; expected last, last4, or numbers such as 0,6,12"),
    ({"layers": "-1"}, "layers is -1; expected last"),
    ({"layers": "0,,1"}, "layers is 0,,1; expected last"),
    ({"layers": "3"}, "layers is 3, the model has 2; expected numbers from 0"),
    ({"layers": "last4"}, "layers is last4, the model has 2"),
    ({"pooling": "sum"}, "pooling is sum; expected mean, cls, max, tokens"),
    ({"dtype": "int8"}, "dtype is int8; expected float32, float16"),
    ({"max_seq_length": 2}, "max_seq_length is 2; expected 3 or more"),
    ({"max_seq_length": 33}, "max_seq_length is 33; expected 32 or fewer"),
    ({"stride": 0}, "stride is 0; expected 1 or more"),
    ({"stride": 31}, "stride is 31; expected 30 or fewer"),
    ({"stride": 5, "pooling": "tokens"}, "stride is given with pooling tokens"),
    ({"batch_tokens": 0}, "batch_tokens is 0; expected 1 or more"),
])  # fmt: skip
def test_what_cannot_be_is_one_sentence(trained, config, sentence):
    with pytest.raises(InputError, match=sentence):
        Embedder(trained, EmbedConfig(**config))


# The command


@pytest.fixture
def text_file(tmp_path, texts):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(texts) + "\n")
    return path


def test_parquet_has_ids_and_vectors_in_the_order_of_the_input(folder, trained, texts, text_file, tmp_path):
    output = run("embed", text_file, "--model-dir", folder, "--output", tmp_path / "v.parquet", "--with-text")
    assert f"Wrote {tmp_path}/v.parquet: 60 texts, vectors of 16, in " in output
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 16)
    assert table["id"].to_pylist() == [f"{text_file}:{line}" for line in range(1, 61)]
    assert table["text"].to_pylist() == texts
    vectors = np.stack(table["vector"].to_numpy())
    np.testing.assert_allclose(vectors, embed(trained, texts), rtol=0, atol=1e-6)
    assert set(tmp_path.iterdir()) == {text_file, tmp_path / "v.parquet"}


def test_npy_has_the_vectors_and_a_file_beside_it_the_ids(folder, trained, texts, text_file, tmp_path):
    command = ["embed", text_file, "--model-dir", folder, "--output", tmp_path / "v.npy", "--dtype", "float16"]
    assert f"Wrote {tmp_path}/v.npy and {tmp_path}/v.ids.jsonl: 60 texts" in run(*command)
    vectors = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert (vectors.shape, vectors.dtype) == ((60, 16), np.float16)
    np.testing.assert_allclose(vectors, embed(trained, texts), atol=2e-3)
    rows = [json.loads(line) for line in (tmp_path / "v.ids.jsonl").read_text().splitlines()]
    assert rows == [{"id": f"{text_file}:{line}"} for line in range(1, 61)]
    assert "v.npy exists; give another name, or --overwrite" in refuse(*command)
    run(*command, "--overwrite", "--with-text")
    assert json.loads((tmp_path / "v.ids.jsonl").read_text().splitlines()[2])["text"] == texts[2]


def test_tokens_stand_beside_their_vectors(folder, trained, texts, text_file, tmp_path):
    run(
        "embed", text_file, "--model-dir", folder, "--output", tmp_path / "v.parquet", "--pooling", "tokens",
        "--layers", "0,2", "--dtype", "float16",
    )  # fmt: skip
    rows = pq.read_table(tmp_path / "v.parquet").to_pylist()
    assert len(rows) == 60
    for text, row in zip(texts, rows):
        assert row["tokens"] == ["[CLS]", *FullTokenizer(trained.vocab).tokenize(text), "[SEP]"]
        states = states_of(trained, text)
        np.testing.assert_allclose(row["vectors"], np.concatenate([states[0], states[2]], axis=1), atol=4e-3)


def test_a_few_texts_at_a_time_give_the_same_file(folder, text_file, tmp_path, monkeypatch):
    command = ["embed", text_file, "--model-dir", folder, "--output"]
    run(*command, tmp_path / "one.parquet")
    monkeypatch.setattr("maskmill.deploy.tasks.texts.MOST_TEXTS", 7)
    monkeypatch.setattr("maskmill.model.tasks.batches.MOST_UNCOMPILED", 1)
    run(*command, tmp_path / "many.parquet")
    run(*command, tmp_path / "many.npy")
    one, many = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("one", "many"))
    assert pq.ParquetFile(tmp_path / "many.parquet").num_row_groups == 9
    assert one["id"] == many["id"]
    expected = np.stack(one["vector"].to_numpy())
    np.testing.assert_allclose(np.stack(many["vector"].to_numpy()), expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.load(tmp_path / "many.npy"), expected, rtol=0, atol=1e-6)


def test_ids_and_formats_are_those_of_generate(folder, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"key": "x", "body": "the cat"}\n{"body": "a dog"}\n')
    pq.write_table(pa.table({"key": [5, 6], "body": ["a", "b\n\nb"]}), tmp_path / "b.parquet")
    (tmp_path / "c.txt").write_text("one\ntwo\n\nthree\n")
    model = ["--model-dir", folder, "--output", tmp_path / "v.npy", "--overwrite"]

    def ids(*arguments):
        run("embed", *arguments, *model)
        return [json.loads(line)["id"] for line in (tmp_path / "v.ids.jsonl").read_text().splitlines()]

    fields = ["--text-field", "body", "--id-field", "key"]
    assert ids(tmp_path / "a.jsonl", tmp_path / "b.parquet", *fields) == ["x", f"{tmp_path}/a.jsonl:2", "5", "6"]
    assert ids(tmp_path / "c.txt") == [f"{tmp_path}/c.txt:{line}" for line in (1, 2, 4)]
    assert ids(tmp_path / "c.txt", "--input-format", "text") == [f"{tmp_path}/c.txt:{line}" for line in (1, 4)]


def test_what_was_cut_and_what_was_rejected_is_said(folder, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("cat", " ", "cat " * 50, None, "dog")))
    command = ["embed", path, "--model-dir", folder, "--overwrite", "--output", tmp_path / "v.parquet"]
    output = run(*command)
    assert "empty text (1), field 'text' is null (1)" in output
    assert f"The first that was rejected: {path}:2" in output
    assert "1 of 3 texts has more than 30 tokens, and the rest was cut off; --stride 15 averages" in output
    assert pq.read_table(tmp_path / "v.parquet")["id"].to_pylist() == [f"{path}:{line}" for line in (1, 3, 5)]
    output = run(*command, "--stride", 10)
    assert "1 of 3 texts has more than 30 tokens: of their 3 windows the average was taken" in output
    assert "3 windows the largest values were taken" in run(*command, "--stride", 10, "--pooling", "max")
    assert "and the rest was cut off\n" in run(*command, "--pooling", "tokens")
    path.write_text(json.dumps({"text": "cat\0"}))
    assert "Repaired documents: NUL characters removed (1)" in run(*command)
    path.write_text(json.dumps({"text": "cat 猫 猫 猫"}))
    output = run(*command, "--id-field", "name")
    assert "75% of the tokens are [UNK]: the vocabulary does not fit this text" in output
    assert "1 text without name, the --id-field: named by file and line instead" in output


def test_columns_of_a_table_are_no_texts_unless_its_lines_are_asked_for(folder, tmp_path):
    (tmp_path / "table.csv").write_text("text,label\na,b\n")
    command = ["embed", tmp_path / "table.csv", "--model-dir", folder, "--output", tmp_path / "new" / "v.npy"]
    assert "table.csv is a table by its name, which is not read; write it as JSON lines or Parquet" in refuse(*command)
    run(*command, "--input-format", "lines")
    assert len(np.load(tmp_path / "new" / "v.npy")) == 2


def test_wrong_usage_and_wrong_files_are_one_sentence_and_leave_nothing(folder, text_file, tmp_path):
    command = ["embed", text_file, "--model-dir", folder, "--output"]
    assert "expected a name that ends in .parquet or .npy" in refuse(*command, tmp_path / "v.csv", exit_code=2)
    tokens = refuse(*command, tmp_path / "v.npy", "--pooling", "tokens", exit_code=2)
    assert "as many vectors as it has tokens, which .npy cannot hold" in tokens
    assert "layers is x; expected last" in refuse(*command, tmp_path / "v.npy", "--layers", "x", exit_code=2)
    assert "layers is 9, the model has 2" in refuse(*command, tmp_path / "v.npy", "--layers", "9")
    (tmp_path / "empty.txt").write_text("\n")
    model = ["--model-dir", folder, "--output", tmp_path / "v.npy"]
    assert "empty.txt holds no documents; expected" in refuse("embed", tmp_path / "empty.txt", *model)
    (tmp_path / "null.jsonl").write_text('{"text": null}\n{"text": ""}\n')
    assert "no documents that can be read (field 'text' is null (1), empty" in refuse(
        "embed", tmp_path / "null.jsonl", *model
    )
    assert "and would be read as text" in refuse("embed", tmp_path, *model)
    nowhere = ["--model-dir", tmp_path / "nowhere", "--output", tmp_path / "v.npy"]
    assert "nowhere is no checkpoint, or is not there" in refuse("embed", text_file, *nowhere)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"texts.txt", "empty.txt", "null.jsonl"}


@pytest.mark.parametrize("name", ["v.parquet", "v.npy"])
def test_a_full_disk_leaves_nothing(folder, text_file, tmp_path, name):
    output = tmp_path / "out" / name
    output.parent.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        message = refuse("embed", text_file, "--model-dir", folder, "--output", output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"{output} cannot be written (File too large); make room" in message
    assert list(output.parent.iterdir()) == []


def test_a_vocabulary_that_does_not_fit_is_one_sentence(folder, text_file, tmp_path):
    export(folder, tmp_path / "hf")
    lines = (tmp_path / "hf" / "vocab.txt").read_text().splitlines()
    (tmp_path / "hf" / "vocab.txt").write_text("\n".join([*lines, "more"]))
    command = ["embed", text_file, "--model-dir", tmp_path / "hf", "--output", tmp_path / "v.npy"]
    assert f"has {len(lines) + 1} tokens, its weights have {len(lines)}" in refuse(*command)


def test_a_model_of_others_is_used_and_what_is_different_about_it_is_said(folder, trained, texts, text_file, tmp_path):
    export(folder, tmp_path / "hf")
    config = tmp_path / "hf" / "config.json"
    command = ["embed", text_file, "--model-dir", tmp_path / "hf", "--output", tmp_path / "v.npy", "--overwrite"]
    assert "erf" not in run(*command)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), embed(trained, texts), rtol=0, atol=1e-6)
    config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_act": "gelu"}))
    assert "the weights were trained with the erf form of gelu" in run(*command)
    assert "erf form of gelu" in run("fill-mask", "--model-dir", tmp_path / "hf", "a [MASK]")


def test_texts_model_and_vectors_may_lie_in_cloud_storage(folder, trained, texts, text_file, tmp_path, monkeypatch):
    with emulator() as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        bucket = Client().bucket("work")
        bucket.create()
        for path in [text_file, *folder.iterdir()]:
            bucket.blob(f"in/{path.name}").upload_from_filename(path)
        for name in ("v.parquet", "v.npy"):
            run("embed", "gs://work/in/texts.txt", "--model-dir", "gs://work/in", "--output", f"gs://work/out/{name}")
            bucket.blob(f"out/{name}").download_to_filename(tmp_path / name)
        assert bucket.blob("out/v.ids.jsonl").exists()
    expected = embed(trained, texts)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, rtol=0, atol=1e-6)
    vectors = np.stack(pq.read_table(tmp_path / "v.parquet")["vector"].to_numpy())
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-6)
