"""A judge with your taste, and a generator tuned by it, each by one command: `rationalrewards train judge`, `generator`.

Reading order: `job` (what is asked for), `picks` (what there is to learn from, and what cannot work), `probe` (what this
machine needs for it), `plan` (the table that is shown before anything long starts), `judge` (the stages, each of which
goes on where it stopped), `gain` (the judge before and after on picks it has not seen), `page`, `placing` (where ComfyUI
finds it), `generator`, `example_picks` (something to try it out with).
"""
