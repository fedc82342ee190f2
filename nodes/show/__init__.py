"""What a person sees of critiques: `cards` on a node, `markdown` as text, `previews` as pictures in the temp folder."""
