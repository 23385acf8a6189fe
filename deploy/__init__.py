"""How maskmill is launched: the command line and the demo."""

if __name__ == "deploy":  # found in a checkout under the name of its folder
    raise SystemExit(
        "import maskmill.deploy, or run maskmill; to install it, run here: pip install --editable '.[train]'"
    )
