"""How good a generator's images are, by the protocols of published benchmarks: `python -m training.evaluate generation`.

Reading order: `outputs` (what is asked about one image), `wording` (in whose words), `replies` (what is read from a
reply), `imgedit`, `gedit`, `unigenbench`, `pica` (the benchmarks), `asking` (one question, resumably), `figures`,
`tables`.
"""
