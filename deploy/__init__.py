"""How maskmill is launched: the command line and the demo."""

if __name__ == "deploy":  # found in a checkout under the name of its folder
    raise SystemExit(
        "to run maskmill from a checkout, install it here first: pip install --editable '.[train]'; "
        "then run: maskmill --help"
    )
