"""The commands: their options, and what is checked before the work begins."""
