"""[MASK] as it is written is the token; what is likeliest there is told as a table or as JSON."""

import json

import numpy as np
import pytest
from command import refuse, run
from small_model import POSITIONS, make_model, write_model

from maskmill.deploy.terminal.tables import new_console
from maskmill.model.tasks.fill_mask import MaskFiller, best_tokens, fill_mask
from maskmill.model.tasks.texts import TextEncoder
from maskmill.model.tasks.trained import TrainedBert
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.vocab import Vocab
from maskmill.tokenizer.wordpiece import FullTokenizer

TEXTS = ["the [MASK] sat on a [MASK]", "[MASK]", "a cat [MASK] .", "cats, [MASK]ing dogs", "un[MASK] [MASK][MASK]"]


@pytest.fixture(scope="module")
def trained(small_vocab):
    return TrainedBert("model", make_model(small_vocab), small_vocab)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_vocab):
    return write_model(tmp_path_factory.mktemp("fill") / "model", small_vocab)[0]


def read_json(*arguments):
    return json.loads(run("fill-mask", "--json", *arguments))


def test_a_mask_in_the_text_is_the_token_and_its_neighbours_are_text(small_vocab: Vocab):
    encoder, readable = TextEncoder(small_vocab, cased=False), FullTokenizer(small_vocab)
    for text, ids in zip(TEXTS, encoder.encode_with_masks(TEXTS, 32)):
        expected = [token for part in text.split("[MASK]") for token in ("[MASK]", *readable.tokenize(part))][1:]
        assert [small_vocab.tokens[id] for id in ids] == ["[CLS]", *expected, "[SEP]"]
    for text in ("the [mask]", "the [ MASK ]", "", " "):
        with pytest.raises(InputError, match=rf"the text '{text.replace('[', '.').replace(']', '.')}' has no \[MASK\]"):
            encoder.encode_with_masks([text], 32)
    with pytest.raises(InputError, match=r"the text '\[MASK\] a a .* has 33 tokens; expected 32 or fewer.*cut it"):
        encoder.encode_with_masks(["[MASK]" + " a" * 30], 32)


def test_the_likeliest_tokens_of_each_mask_are_those_of_the_text_alone(trained):
    """Together in a batch, padded, or one by one."""
    vocab = trained.vocab
    together = fill_mask(trained, TEXTS * 3, top_k=len(vocab))
    for text, masks in zip(TEXTS * 3, together):
        (ids,) = TextEncoder(vocab, False).encode_with_masks([text], 32)
        places = np.flatnonzero(ids == vocab.ids["[MASK]"])
        hidden, _ = trained.model.encoder(ids[None], np.ones_like(ids)[None], np.zeros_like(ids)[None])
        logits = np.asarray(trained.model.masked_lm_logits(hidden))[0, places]
        expected = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        assert len(masks) == len(places)
        for best, shares in zip(masks, expected):
            assert [share for _, share in best] == sorted((share for _, share in best), reverse=True)
            found = dict(best)
            np.testing.assert_allclose([found[token] for token in vocab.tokens], shares, atol=1e-6)


def test_a_compiled_batch_gives_what_the_others_give(trained, monkeypatch):
    one = fill_mask(trained, TEXTS * 4)
    monkeypatch.setattr("maskmill.model.tasks.fill_mask.BATCH_TOKENS", 8)
    monkeypatch.setattr("maskmill.model.tasks.batches.MOST_UNCOMPILED", 2)
    compiled = fill_mask(trained, TEXTS * 4)  # the same shapes, four times
    for a, b in zip(one, compiled):
        assert [[token for token, _ in best] for best in a] == [[token for token, _ in best] for best in b]
        np.testing.assert_allclose(
            [[share for _, share in best] for best in a], [[share for _, share in best] for best in b], atol=1e-6
        )


def test_a_model_without_the_head_cannot_fill(trained):
    with pytest.raises(InputError, match="has no weights of masked_lm"):
        MaskFiller(TrainedBert("hf", trained.model, trained.vocab, missing_heads=("masked_lm",)))


def test_best_tokens_are_sorted_and_their_probabilities_add_up(trained):
    ids = np.array([[2, 9, 4, 11, 3]], np.int32)
    features = {"input_ids": ids, "input_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}
    size = len(trained.vocab)
    best, shares = map(np.asarray, best_tokens(trained.model, {**features, "positions": ids[:, :2] * 0 + 2}, size))
    assert best.shape == shares.shape == (1, 2, size)
    np.testing.assert_allclose(shares.sum(axis=-1), 1, rtol=1e-5)
    assert (np.diff(shares) <= 0).all()
    assert sorted(best[0, 0]) == list(range(size))


def test_a_table_has_two_columns_for_each_mask(folder):
    lines = run("fill-mask", "--model-dir", folder, TEXTS[0], "--top-k", 3).splitlines()
    assert lines[0] == TEXTS[0]
    assert [word.strip() for word in lines[2].split("┃")] == ["", "[MASK] 1", "", "[MASK] 2", "", ""]
    rows = [line for line in lines if line.startswith("│")]
    assert len(rows) == 3
    assert all(row.count("%") == 2 for row in rows)
    assert run("fill-mask", "--model-dir", folder, "[MASK]", "--top-k", 100_000).count("%") > 20


def test_json_is_a_list_and_an_object_a_text(folder, tmp_path, small_vocab):
    (tmp_path / "texts.txt").write_text("a [MASK]\n\nthe [MASK] sat\n")
    (tmp_path / "texts.jsonl").write_text('{"key": 7, "body": "[MASK]\\n[MASK]"}\n')
    one, two, three = read_json("--model-dir", folder, "cat [MASK]", "--input", tmp_path / "texts.txt", "--top-k", 2)
    assert (one["id"], one["text"]) == ("1", "cat [MASK]")
    assert (two["id"], three["id"]) == (f"{tmp_path}/texts.txt:1", f"{tmp_path}/texts.txt:3")
    ((best, second),) = three["masks"]
    assert 1 > best["probability"] >= second["probability"] > 0
    assert best["token"] in small_vocab.ids
    arguments = ["--text-field", "body", "--id-field", "key"]
    (one,) = read_json("--model-dir", folder, "--input", tmp_path / "texts.jsonl", *arguments)
    assert (one["id"], len(one["masks"])) == ("7", 2)


def test_what_cannot_be_filled_is_one_sentence(folder, tmp_path):
    model = ["--model-dir", folder]
    assert "expected a TEXT with [MASK], or --input" in refuse("fill-mask", *model, exit_code=2)
    assert "'the cat' has no [MASK]; write [MASK] where" in refuse("fill-mask", *model, "the cat")
    assert "'' has no [MASK]" in refuse("fill-mask", *model, "")
    assert f"expected {POSITIONS} or fewer" in refuse("fill-mask", *model, "[MASK] " + "cat " * 40)
    (tmp_path / "texts.txt").write_text("a [MASK]\n\nthe cat\n")
    assert f"the text 'the cat' ({tmp_path}/texts.txt:3) has" in refuse(
        "fill-mask", *model, "--input", tmp_path / "texts.txt"
    )
    (tmp_path / "empty.txt").write_text("\n \n")
    assert "empty.txt holds no documents" in refuse("fill-mask", *model, "--input", tmp_path / "empty.txt")
    assert "nowhere is no checkpoint" in refuse("fill-mask", "--model-dir", tmp_path / "nowhere", "a [MASK]")
    assert "names no file" in refuse("fill-mask", *model, "--input", tmp_path / "nothing")


def test_a_text_is_printed_as_it_is(capsys):
    new_console().print("[bold]:cat:[/bold]")
    assert capsys.readouterr().out == "[bold]:cat:[/bold]\n"
