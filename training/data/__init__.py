"""What training learns from: labelled pairs and their images, and the files and jobs that make them.

Reading order: `pairs` (a preference as one line of JSON), `store` (images by reference), `importers/` (what people and
datasets call a preference), `splits`, `labelled_pairs` (a folder of pairs with labels), `benchmarks` and `mmrb2`
(public ones, with `cells`), `records` and `journal` (what a job writes), `budget`, `job` (the runner).
"""
