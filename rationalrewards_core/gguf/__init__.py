"""Judges as GGUF files: `header` reads what a file says of itself, `pairs` puts model and picture tower together, `engine` runs them."""
