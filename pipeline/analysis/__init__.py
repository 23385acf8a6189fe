"""Measures, shows and compares datasets."""
