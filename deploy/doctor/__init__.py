"""`maskmill doctor`: what a run needs, looked at before it costs anything. `diagnosis.py` names the checks."""
