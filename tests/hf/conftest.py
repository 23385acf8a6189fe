"""torch is not installed where pytest runs."""

collect_ignore = ["torch_side.py"]
