"""A dataset: its configuration, its manifest, and its folder while it is made."""
