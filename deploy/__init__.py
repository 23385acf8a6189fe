"""How maskmill is launched: the command line and the demo."""
