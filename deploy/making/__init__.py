"""`vocab` and `generate` on the terminal."""
