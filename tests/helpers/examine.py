"""The findings of `maskmill doctor`, for its tests."""

import json

from click.testing import CliRunner

from maskmill.deploy.cli import main

Found = dict[str, tuple[str, str, str]]  # check -> state, what was found, remedy


def examine(*arguments: object, exit_code: int = 0) -> Found:
    """The findings by check. The exit code says whether something is wrong."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    command = ["doctor", *arguments[:at], "--json", *arguments[at:]]
    result = CliRunner().invoke(main, list(map(str, command)))
    assert "Traceback" not in result.output, result.output
    assert result.exit_code == exit_code, result.output
    findings = json.loads(result.stdout)
    assert exit_code == any(finding["state"] == "wrong" for finding in findings), findings
    return {finding["check"]: (finding["state"], finding["found"], finding["remedy"]) for finding in findings}


def states(found: Found) -> set[str]:
    return {state for state, _, _ in found.values()}
