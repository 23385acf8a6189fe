"""What `maskmill validate` proves: rules of examples, files against the manifest, counts, shares, and no repeats."""
