"""Judges as GGUF files: `header` reads what a file says of itself, `pairs` puts model and picture tower together, `whole_files` looks whether all of them came, `engine` runs them."""
