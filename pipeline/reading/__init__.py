"""Input files to documents: compression, formats, sentences, and what is rejected."""
