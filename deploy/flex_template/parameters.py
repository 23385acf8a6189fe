"""Which options of `generate` are parameters of the template, and the metadata.json that says so.

`python -m maskmill.deploy.flex_template.parameters` writes metadata.json; with `--image IMAGE` it prints the template's
specification file, for those who build without gcloud.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import click

METADATA_FILE = Path(__file__).with_name("metadata.json")

# Options that are no parameters: gcloud and the console ask for these, and the launcher hands them over ...
FROM_LAUNCHER = (
    "project",
    "region",
    "temp_location",
    "staging_location",
    "job_name",
    "label",
    "worker_machine_type",
    "max_num_workers",
    "disk_size_gb",
    "network",
    "subnetwork",
    "no_public_ips",
    "service_account_email",
)
# ... and these have no place in a template.
LEFT_OUT = {
    **dict.fromkeys(FROM_LAUNCHER, "the launcher hands it over"),
    **dict.fromkeys(("runner", "no_wait", "dry_run", "prices", "json"), "the launcher submits one job and ends"),
    **dict.fromkeys(
        ("num_workers", "memory_limit", "temp_dir"), "of the local runner; Dataflow has a num_workers of its own"
    ),
    **dict.fromkeys(("job_endpoint", "flink_master"), "of other runners"),
}
INPUTS_HELP = (
    "gs:// files, folders or patterns, with commas between: text, JSONL, Parquet or WikiExtractor's output, plain, "
    ".gz, .zst, .bz2 or .xz; or a dataset of format tokens."
)
PATHS = {"vocab_file": "GCS_READ_FILE", "output": "GCS_WRITE_FOLDER"}
GCS = r"gs://[^\n\r,]+"


def parameter_name(option: click.Option) -> str:
    """`--max-seq-length` to max_seq_length: Google's own templates name theirs so."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


def options_by_name(command: click.Command) -> dict[str, click.Option]:
    """All options of a command by the name that a parameter has."""
    return {parameter_name(option): option for option in command.params if isinstance(option, click.Option)}


def value_pattern(option: click.Option) -> str:
    """The regular expression of an option's values; with commas between where it may be given several times."""
    kind = option.type
    if option.is_flag:
        return "^(true|false)$"
    if isinstance(kind, click.Choice):
        one = "(" + "|".join(re.escape(str(choice)) for choice in kind.choices) + ")"
    elif isinstance(kind, click.types.IntParamType):
        one = "-?[0-9]+"
    elif isinstance(kind, click.types.FloatParamType):
        one = r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?"
    else:
        one = GCS if parameter_name(option) in PATHS else r"[^\n\r]+"
    return f"^{one}(,{one})*$" if option.multiple else f"^{one}$"


def help_text(option: click.Option) -> str:
    """An option's help and default, as `maskmill generate --help` shows them."""
    text = option.help or ""
    default = option.default
    values = list(default) if isinstance(default, (list, tuple)) else [default]
    if isinstance(option.show_default, str):
        return f"{text} [default: {option.show_default}]"
    if option.is_flag or not all(isinstance(value, (str, int, float)) for value in values):
        return text
    return f"{text} [default: {', '.join(map(str, values))}]" if values else text


def make_parameter(name: str, option: click.Option) -> dict[str, Any]:
    """One option as a parameter of the template."""
    parameter: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": help_text(option) + (" Several with commas between." if option.multiple else ""),
        "isOptional": not option.required,
        "regexes": [value_pattern(option)],
    }
    if name in PATHS:
        parameter["paramType"] = PATHS[name]
    return parameter


def build_metadata(command: click.Command) -> dict[str, Any]:
    """What metadata.json has to hold for a command: every option of it that is not left out, and the inputs."""
    inputs = {
        "name": "inputs",
        "label": "Inputs",
        "helpText": INPUTS_HELP,
        "isOptional": False,
        "regexes": [f"^{GCS}(,{GCS})*$"],
    }
    options = {name: option for name, option in options_by_name(command).items() if name not in LEFT_OUT}
    parameters = [make_parameter(name, option) for name, option in options.items()]
    parameters.sort(key=lambda parameter: parameter["isOptional"])  # the console asks for the required ones first
    return {
        "name": "maskmill generate",
        "description": (command.help or "").strip().partition("\n")[0],
        "parameters": [inputs, *parameters],
    }


def to_json(value: dict[str, Any]) -> str:
    """The text of the JSON file, indented as it is checked in."""
    return json.dumps(value, indent=2) + "\n"


def main() -> None:
    """Writes metadata.json, or prints the specification of an image's template."""
    from maskmill.deploy.data.generate import generate

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="the launcher's image; prints the specification file of its template")
    image = parser.parse_args().image
    metadata = build_metadata(generate)
    if image:
        print(to_json({"image": image, "metadata": metadata, "sdkInfo": {"language": "PYTHON"}}), end="")
    else:
        METADATA_FILE.write_text(to_json(metadata))


if __name__ == "__main__":
    main()
