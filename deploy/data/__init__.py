"""The commands that make data: vocab and generate."""
