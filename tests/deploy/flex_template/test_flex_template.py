"""The Flex Template: its parameters are the options of generate, and the launcher's flags become its command line."""

import json
import re

import click
import pytest

from maskmill.deploy.data.generate import generate
from maskmill.deploy.flex_template.main import to_arguments
from maskmill.deploy.flex_template.parameters import (
    LEFT_OUT,
    METADATA_FILE,
    build_metadata,
    options_by_name,
    to_json,
    value_pattern,
)

BASIC = ["--inputs=gs://b/corpus", "--vocab_file=gs://b/vocab.txt", "--output=gs://b/shards"]
FROM_GCLOUD = [  # what the launcher adds to a template's own parameters
    "--runner=DataflowRunner",
    "--project=p",
    "--region=europe-west4",
    "--job_name=maskmill-1",
    "--temp_location=gs://b/temp",
    "--staging_location=gs://b/staging",
    "--template_location=gs://b/staging/template_launches/1/job_object",
    '--labels={"goog-dataflow-provided-template": "x"}',
    "--num_workers=3",
    "--max_num_workers=20",
]


@pytest.fixture(scope="module")
def metadata():
    return json.loads(METADATA_FILE.read_text())


@click.command()
@click.argument("inputs", nargs=-1, required=True)
@click.option("--output", required=True)
@click.option("--max-seq-length", "lengths", multiple=True, default=[128], help="Tokens.")
@click.option("--overwrite", is_flag=True)
@click.option("--project")
@click.option("--region")
@click.option("--label", "labels", multiple=True)
@click.option("--worker-machine-type")
@click.option("--num-workers", type=int)
@click.option("--runner", type=click.Choice(["local", "dataflow"]))
@click.option("--no-wait", is_flag=True)
def command(**options):
    """A generate that knows of Dataflow."""
    return options


def split_at_dashes(arguments):
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def test_metadata_holds_every_option_of_generate():
    """Else run python -m maskmill.deploy.flex_template.parameters, or say in LEFT_OUT why an option is left out."""
    assert METADATA_FILE.read_text() == to_json(build_metadata(generate))


def test_every_option_is_a_parameter_or_left_out(metadata):
    names = {parameter["name"] for parameter in metadata["parameters"]}
    assert not names & set(LEFT_OUT)
    assert names == {"inputs", *options_by_name(generate)} - set(LEFT_OUT)
    assert len(names) == len(metadata["parameters"])


def test_a_new_option_changes_the_metadata(metadata):
    grown = click.Command("generate", params=[*generate.params, click.Option(["--new-rule"], help="New.")])
    (parameter,) = [one for one in build_metadata(grown)["parameters"] if one not in metadata["parameters"]]
    assert parameter == {
        "name": "new_rule",
        "label": "New rule",
        "helpText": "New.",
        "isOptional": True,
        "regexes": [r"^[^\n\r]+$"],
    }


def test_google_reads_the_specification(metadata):
    """Google's own client knows all of its fields, and refuses others."""
    dataflow = pytest.importorskip("google.cloud.dataflow_v1beta3")
    specification = {"image": "i", "metadata": metadata, "sdkInfo": {"language": "PYTHON"}}
    read = dataflow.ContainerSpec.from_json(json.dumps(specification))
    by_name = {parameter.name: parameter for parameter in read.metadata.parameters}
    assert not by_name["output"].is_optional
    assert by_name["vocab_file"].param_type == dataflow.ParameterType.GCS_READ_FILE
    assert by_name["dupe_factor"].is_optional


def test_names_are_ones_that_dataflow_takes(metadata):
    for parameter in metadata["parameters"]:
        assert re.fullmatch("[a-z][a-z0-9_]*", parameter["name"])
        assert parameter["helpText"]
        assert parameter["label"]


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("inputs", ["gs://b/a", "gs://b/*.txt,gs://c/d"], ["", "/local", "gs://b/a,/local"]),
        ("output", ["gs://b/shards"], ["shards", "gs://"]),
        ("max_seq_length", ["128", "128,512"], ["", "128,", "x"]),
        ("masked_lm_prob", ["0.15", ".1", "1", "1e-3"], ["", "a", "0.1,0.2"]),
        ("overwrite", ["true", "false"], ["yes", ""]),
        ("compression", ["none", "gzip"], ["zip", "none,gzip"]),
    ],
)
def test_values_are_checked_before_the_launcher_starts(metadata, name, right, wrong):
    ((pattern,),) = [parameter["regexes"] for parameter in metadata["parameters"] if parameter["name"] == name]
    assert all(re.fullmatch(pattern, value) for value in right)
    assert not any(re.fullmatch(pattern, value) for value in wrong)


def test_every_default_matches_its_own_pattern():
    for name, option in options_by_name(generate).items():
        default = option.get_default(click.Context(generate))
        if name not in LEFT_OUT and isinstance(default, (str, int, float, list, tuple)) and not option.is_flag:
            text = ",".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)
            assert re.fullmatch(value_pattern(option), text), name


def test_parameters_become_options_and_the_rest_goes_to_beam():
    flags = ["--inputs=gs://b/a,gs://b/c", "--output=gs://b/o", "--max_seq_length=128,512", *FROM_GCLOUD]
    known_to_both = ("--runner", "--project", "--region", "--labels")
    ours, beam = split_at_dashes(to_arguments(flags, command))
    assert ours == [
        *("generate", "--runner", "dataflow", "--no-wait"),
        *("--output=gs://b/o", "--max-seq-length=128", "--max-seq-length=512", "--project=p", "--region=europe-west4"),
        "--label=goog-dataflow-provided-template=x",
        *("gs://b/a", "gs://b/c"),
    ]
    assert beam == [flag for flag in FROM_GCLOUD if not flag.startswith(known_to_both)]


def test_number_of_workers_is_dataflows_own():
    ours, beam = split_at_dashes(to_arguments([*BASIC, "--num_workers=3"], command))
    assert "--num_workers=3" in beam
    assert not any("workers" in argument for argument in ours)


def test_click_reads_what_the_launcher_gave():
    flags = ["--inputs=gs://b/a", "--output=gs://b/o", "--overwrite=true", "--max_seq_length=512", *FROM_GCLOUD]
    options = command.main(to_arguments(flags, command)[1:], standalone_mode=False)
    assert options["runner"] == "dataflow"
    assert options["no_wait"]
    assert options["overwrite"]
    assert options["lengths"] == (512,)
    assert options["project"] == "p"
    assert options["num_workers"] is None
    assert options["inputs"][0] == "gs://b/a"
    assert "--num_workers=3" in options["inputs"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--overwrite=true"], ["--overwrite"]),
        (["--overwrite=True"], ["--overwrite"]),
        (["--overwrite"], ["--overwrite"]),
        (["--overwrite=false"], []),
        (["--overwrite="], []),
        (["--max_seq_length="], []),
        (['--labels={"a": "b", "c": ""}'], ["--label=a=b", "--label=c="]),
        (["--labels=a=b"], ["--label=a=b"]),
        (["--label=a=b"], ["--label=a=b"]),
        (["--machine_type=n2-standard-4"], ["--worker-machine-type=n2-standard-4"]),
        (["--worker_machine_type=n2-standard-4"], ["--worker-machine-type=n2-standard-4"]),
        (["--output", "gs://b/o"], ["--output=gs://b/o"]),
        (["--output=gs://b/a=1"], ["--output=gs://b/a=1"]),
    ],
)
def test_flags_come_in_every_form(flags, expected):
    assert to_arguments(flags, command) == ["generate", "--runner", "dataflow", "--no-wait", *expected, "--"]


def test_an_option_that_generate_lacks_is_beams():
    without = click.Command("generate", params=[click.Option(["--output"])])
    assert to_arguments(FROM_GCLOUD, without)[4:] == ["--", *FROM_GCLOUD[1:]]


def test_unknown_flags_keep_their_form():
    _, beam = split_at_dashes(to_arguments(["--streaming", "--experiments=a,b", "--experiments=c"], command))
    assert beam == ["--streaming", "--experiments=a,b", "--experiments=c"]


def test_every_parameter_reaches_the_option_of_its_name(metadata):
    values = {"inputs": "gs://b/a"}
    for name, option in options_by_name(generate).items():
        if name not in LEFT_OUT:
            values[name] = "true" if option.is_flag else "1"
    ours, beam = split_at_dashes(to_arguments([f"--{name}={value}" for name, value in values.items()], generate))
    assert not beam
    given = {argument.split("=")[0] for argument in ours[4:-1]}
    assert given == {"--" + name.replace("_", "-") for name in values if name != "inputs"}


def test_generate_takes_the_launchers_command_line():
    arguments = to_arguments([*BASIC, *FROM_GCLOUD], generate)
    context = generate.make_context("generate", arguments[1:])
    assert context.params["runner"] == "dataflow"
    assert context.params["inputs"][0] == "gs://b/corpus"
    assert context.params["inputs"][1:] == tuple(
        flag for flag in FROM_GCLOUD if flag.startswith(("--template_location", "--num_workers"))
    )
