"""`maskmill report`: what a dataset looks like, as one HTML file."""
