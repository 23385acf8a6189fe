"""Looks at datasets, ours and those of others: opens, measures, shows and compares them."""
