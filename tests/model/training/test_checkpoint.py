import errno
import logging

import keras
import numpy as np
import pytest

from maskmill.model.training.checkpoint import (
    list_checkpoints,
    read_best,
    read_checkpoint,
    restore_best,
    restore_newest,
    save_best,
    save_checkpoint,
)
from maskmill.pipeline.storage import local_files
from maskmill.tokenizer.errors import InputError


def state_with(value):
    return {
        "weight": keras.Variable(np.full((4, 3), value, np.float32), name="weight"),
        "global_step": keras.Variable(int(value), dtype="int32", name="global_step"),
    }


def test_what_is_saved_comes_back(tmp_path):
    save_checkpoint(tmp_path, 7, state_with(7), keep=1)
    state = state_with(0)
    assert restore_newest(tmp_path, state) == 7
    np.testing.assert_array_equal(state["weight"], np.full((4, 3), 7, np.float32))
    assert int(state["global_step"]) == 7


def test_the_newest_are_kept_and_nothing_else_is_left(tmp_path):
    for step in (5, 10, 20, 100):
        save_checkpoint(tmp_path, step, state_with(step), keep=2)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [100, 20]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_good_checkpoint_is_not_given_up_for_a_damaged_newer_one(tmp_path):
    save_checkpoint(tmp_path, 60, state_with(60), keep=1)
    (tmp_path / "checkpoint-60.safetensors").write_bytes(b"damaged")
    save_checkpoint(tmp_path, 50, state_with(50), keep=1)
    assert restore_newest(tmp_path, state_with(0)) == 50


@pytest.mark.parametrize("damage", ["one bit", "cut short", "empty"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_taken(tmp_path, caplog, damage):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, state_with(step), keep=2)
    newest = tmp_path / "checkpoint-2.safetensors"
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes({"one bit": content, "cut short": content[:-9], "empty": b""}[damage])
    state = state_with(0)
    with caplog.at_level(logging.WARNING):
        assert restore_newest(tmp_path, state) == 1
    assert float(state["weight"][0, 0]) == 1
    assert "checkpoint-2.safetensors is damaged" in caplog.text


def test_a_folder_with_damaged_checkpoints_only_is_refused(tmp_path):
    (tmp_path / "checkpoint-3.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"every checkpoint in .* is damaged"):
        restore_newest(tmp_path, state_with(0))


def test_a_checkpoint_that_may_not_be_read_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, state_with(step), keep=2)
    save_best(tmp_path, {"weight": state_with(1)["weight"]}, 1, 0.5)

    def refuse(path, *mode):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(local_files, "open", refuse, raising=False)
    with pytest.raises(InputError, match=r"checkpoint-2.safetensors cannot be read \(Permission denied\); check the"):
        restore_newest(tmp_path, state_with(0))
    for read in (lambda: read_best(tmp_path), lambda: restore_best(tmp_path, {})):
        with pytest.raises(InputError, match=r"checkpoint-best.safetensors cannot be read \(Permission denied\)"):
            read()


def test_want_of_memory_is_no_damage(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, state_with(1), keep=1)

    class PanicException(BaseException):
        """As Rust's, where it gets no memory."""

    def open_without_memory(*_, **__):
        raise PanicException("PyObject pointer is null")

    monkeypatch.setattr("maskmill.model.training.checkpoint.safe_open", open_without_memory)
    with pytest.raises(MemoryError):
        restore_newest(tmp_path, state_with(0))


def test_a_missing_best_checkpoint_and_a_damaged_one_are_told_apart(tmp_path):
    with pytest.raises(InputError, match=r"has no checkpoint-best.safetensors; train with --eval-every, or use"):
        restore_best(tmp_path, {})
    (tmp_path / "checkpoint-best.safetensors").write_bytes(b"cut")
    assert read_best(tmp_path) is None
    with pytest.raises(InputError, match=r"checkpoint-best.safetensors is damaged \(.*\); copy it again, or use"):
        restore_best(tmp_path, {})


def test_a_folder_without_checkpoints_gives_none(tmp_path):
    assert restore_newest(tmp_path, state_with(0)) is None


def test_a_changed_name_or_type_is_noticed_too(tmp_path):
    save_checkpoint(tmp_path, 1, state_with(1), keep=1)
    path = tmp_path / "checkpoint-1.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"weight"', b'"weighs"'))
    with pytest.raises(ValueError, match="checksum differs"):
        read_checkpoint(path)
