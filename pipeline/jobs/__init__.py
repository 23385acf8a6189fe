"""The Beam DAGs and their steps."""
