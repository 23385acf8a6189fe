"""`maskmill doctor`: what a run needs, looked at before it costs anything. `examine.py` names the checks."""
