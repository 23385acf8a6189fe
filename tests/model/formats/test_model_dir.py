"""Which trainings a model folder takes: a new one, or the same again; and which are refused before they begin."""

import dataclasses
import json

import pytest
from fake_steps import BERT_CONFIG, BORDER, CONFIG, LAST, at, die, learn, preempt
from fake_steps import datasets as datasets  # a fixture
from fake_steps import steps as steps  # a fixture
from small_dataset import write_dataset

from maskmill.model.pretraining.train import Start, train
from maskmill.model.training.checkpoint import BEST, list_checkpoints, read_best
from maskmill.model.training.metrics_log import read_metrics
from maskmill.pipeline.dataset.schema import MANIFEST, DatasetInfo
from maskmill.tokenizer.errors import InputError
from maskmill.tokenizer.json_file import NOT_SEALED, SEAL, VERSION


def test_a_half_written_file_is_never_read_and_is_removed(steps, datasets, tmp_path):
    half = f"{'0' * 31}1.tmp"
    tmp_path.joinpath(f".training.json.{half}").write_text("{")  # killed before anything else was there
    steps.in_step = at(4, preempt)
    learn(datasets, tmp_path)
    tmp_path.joinpath(f".checkpoint-9.safetensors.{half}").write_bytes(b"half")
    tmp_path.joinpath(".notes.tmp").write_text("mine")
    steps.in_step = lambda step: None
    assert learn(datasets, tmp_path) == LAST
    assert len(steps.batches) == LAST
    assert [path.name for path in tmp_path.glob(".*")] == [".notes.tmp"]


def test_a_training_without_a_checkpoint_may_be_begun_in_another_way(steps, datasets, tmp_path):
    def no_memory():
        raise MemoryError

    steps.in_step = at(2, no_memory)
    with pytest.raises(InputError, match="give --gradient-accumulation-steps 2, which changes no gradient"):
        learn(datasets, tmp_path)
    steps.in_step = at(2, preempt)
    assert learn(datasets, tmp_path, random_seed=2) == 2
    with pytest.raises(InputError, match="holds a training with random_seed 2, this one has 12345"):
        learn(datasets, tmp_path)


def test_the_best_checkpoint_is_never_there_alone_so_a_killed_training_goes_on(steps, datasets, tmp_path):
    steps.in_step = at(4, die)
    with pytest.raises(SystemExit):
        learn(datasets, tmp_path, eval_every=2)
    assert read_best(tmp_path) == (2, 1.0)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [2]
    steps.in_step = lambda step: None
    assert learn(datasets, tmp_path, eval_every=2) == LAST
    assert [step for step, _ in list_checkpoints(tmp_path)] == [LAST, 2]  # no more than needed


def test_the_best_checkpoint_outlives_the_others_that_its_user_removed(steps, datasets, tmp_path):
    learn(datasets, tmp_path, eval_every=6)
    for _, path in list_checkpoints(tmp_path):
        path.unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for changes in ({}, {"random_seed": 2}):
        with pytest.raises(InputError, match=rf"holds {BEST}, and no checkpoint to go on from; remove that file"):
            learn(datasets, tmp_path, eval_every=6, **changes)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    start = Start(str(tmp_path / BEST))  # one of the ways out
    config = dataclasses.replace(CONFIG, num_train_steps=LAST)
    assert train(datasets, tmp_path / "another", BERT_CONFIG, config, start=start) == LAST
    (tmp_path / BEST).unlink()  # another
    assert learn(datasets, tmp_path, eval_every=6) == LAST


@pytest.mark.parametrize(
    ("setting", "before", "value"),
    [
        ("optimizer", "google", "lamb"),
        ("precision", "float32", "bfloat16"),
        ("dynamic_masking", False, True),
        ("random_seed", 12345, 1),
    ],
)
def test_what_changes_the_weights_is_kept_and_may_not_change(steps, datasets, tmp_path, setting, before, value):
    steps.in_step = at(1, preempt)
    learn(datasets, tmp_path)
    assert json.loads((tmp_path / "training.json").read_text())["train_config"][setting] == before
    with pytest.raises(InputError, match=f"holds a training with {setting} {before}, this one has {value}; "):
        learn(datasets, tmp_path, **{setting: value})


def test_a_training_of_an_older_maskmill_goes_on(steps, datasets, tmp_path):
    steps.in_step = at(1, preempt)
    learn(datasets, tmp_path)
    training = json.loads((tmp_path / "training.json").read_text())
    for name in ("first_weights", "adam_beta2", "clip_norm"):
        del training["train_config"][name]
    training["train_config"]["optimizer"] = "adamw"  # so it was called, though it never corrected the bias
    del training[SEAL], training[VERSION]
    (tmp_path / "training.json").write_text(json.dumps(training))
    steps.in_step = lambda step: None
    assert learn(datasets, tmp_path) == LAST


def test_what_changes_no_weight_may_change(steps, datasets, tmp_path):
    steps.in_step = at(6, preempt)
    learn(datasets, tmp_path, save_checkpoints_steps=1, keep_checkpoints=6)
    assert len(list_checkpoints(tmp_path)) == 6
    changes = {"eval_every": 3, "save_checkpoints_steps": 4, "keep_checkpoints": 2, "save_summary_steps": 2}
    assert learn(datasets, tmp_path, **changes) == LAST
    assert [step for step, _ in list_checkpoints(tmp_path)] == [LAST, 8]
    assert [step for step, _ in steps.evaluated] == [6, 9, LAST]


def test_a_phase_that_does_not_fit_into_memory_is_gone_on_with_as_its_error_says(steps, datasets, tmp_path):
    def run_out():
        raise MemoryError

    steps.in_step = at(BORDER + 1, run_out)
    with pytest.raises(InputError, match="24 tokens does not fit into memory; give --gradient-accumulation-steps 2"):
        learn(datasets, tmp_path, save_checkpoints_steps=BORDER)
    steps.in_step = lambda step: None
    assert learn(datasets, tmp_path, gradient_accumulation_steps=2) == LAST


def test_two_processes_do_not_train_into_one_folder(steps, datasets, tmp_path):
    def learn_twice():
        with pytest.raises(InputError, match=f"another process trains into {tmp_path}; wait for its end, or give"):
            learn(datasets, tmp_path)

    steps.in_step = at(3, learn_twice)
    assert learn(datasets, tmp_path) == LAST
    assert [row["step"] for row in read_metrics(tmp_path) if "loss" in row] == [*range(1, LAST + 1)]
    assert learn(datasets, tmp_path) == LAST  # once the first is at its end


def test_other_phases_are_another_training(steps, datasets, tmp_path):
    steps.in_step = at(1, preempt)
    learn(datasets, tmp_path)
    (short, _), (long, _) = datasets
    for other, what in (
        ([(short, LAST)], "the number of phases 2, this one has 1"),
        ([(short, BORDER - 1), (long, LAST - BORDER + 1)], f"num_train_steps {BORDER}, this one has {BORDER - 1}"),
        ([(long, BORDER), (short, LAST - BORDER)], "dataset_sha256 [0-9a-f]+, this one has [0-9a-f]+"),
    ):
        with pytest.raises(InputError, match=f"holds a training with {what}; repeat that one to resume it"):
            learn(other, tmp_path)


def changed_copy(directory, target, **changes):
    info = DatasetInfo.load(directory)
    config = {name: value for name, value in {**info.config, **changes}.items() if value is not None}
    write_dataset(target, [[20]], max_seq_length=info.max_seq_length)
    made = DatasetInfo.load(target)
    dataclasses.replace(made, config=config).save(target)
    return target


@pytest.mark.parametrize(
    ("changes", "settings", "sentence"),
    [
        ({"cased": True}, {}, "other has cased=True, .*short has cased=False; generate both alike"),
        ({"masked_lm_prob": None}, {"dynamic_masking": True}, "has no masked_lm_prob, which --dynamic-masking needs"),
        ({}, {"eval_every": 2}, "other has no eval split; generate it with --eval-fraction"),
        ({}, {"train_batch_size": 64}, "other has 20 examples, train_batch_size is 64"),
    ],
)
def test_a_second_phase_that_does_not_fit_is_refused_before_the_first_begins(
    steps, datasets, tmp_path, changes, settings, sentence
):
    other = changed_copy(datasets[1][0], tmp_path / "other", **changes)
    with pytest.raises(InputError, match=sentence):
        learn([datasets[0], (other, 3)], tmp_path / "model", **settings)
    assert not (tmp_path / "model").exists()


def test_phases_whose_labels_mean_different_things_are_refused(steps, datasets, tmp_path):
    sop, mlm = (changed_copy(datasets[0][0], tmp_path / objective, objective=objective) for objective in ("sop", "mlm"))
    for phases in ([datasets[0], (sop, 3)], [(sop, 3), (mlm, 3), datasets[0]]):
        with pytest.raises(InputError, match=r"has objective (sop|nsp), .* has (nsp|sop): label 1 is a random next"):
            learn(phases, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    assert learn([(mlm, 2), (sop, 2), (mlm, 2)], tmp_path / "model") == 6  # no pairs, no other meaning


def test_a_manifest_that_is_not_as_it_was_written_is_refused(steps, datasets, tmp_path):
    dataset, manifest = tmp_path / "shards", tmp_path / "shards" / MANIFEST
    write_dataset(dataset, [[20]])
    content = manifest.read_bytes()
    unsealed = {name: value for name, value in json.loads(content).items() if name != "sha256"}  # of an older maskmill
    for changed in (content.replace(b'"cased": false', b'"cased": true'), json.dumps(unsealed, indent=1).encode()):
        manifest.write_bytes(changed)
        with pytest.raises(InputError, match=rf"{MANIFEST} {NOT_SEALED}; restore it, or generate the dataset again"):
            learn([(dataset, 2)], tmp_path / "model")
    assert not (tmp_path / "model").exists()
    manifest.write_bytes(content)
    assert learn([(dataset, 3)], tmp_path / "model") == 3


def test_phases_of_different_vocabularies_are_refused(steps, datasets, tmp_path):
    other = write_dataset(tmp_path / "other", [[20]]).info
    dataclasses.replace(other, vocab_sha256="0" * 64).save(tmp_path / "other")
    with pytest.raises(InputError, match=r"made with another vocabulary than .*short; generate it with --vocab-file"):
        learn([datasets[0], (tmp_path / "other", 3)], tmp_path / "model")
