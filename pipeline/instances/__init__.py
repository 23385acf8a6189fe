"""The rules that make instances of documents: pools, pairs, segments, masking."""
