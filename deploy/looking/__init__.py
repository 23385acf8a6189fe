"""`inspect`, `validate` and `compare` on the terminal."""
