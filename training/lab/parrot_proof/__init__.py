"""The proof on the miniature world: from preference labels alone to a judge, measured against its rivals.

`python -m training.lab.parrot_proof --out runs/parrot-proof` runs all of it, about an hour on two cores.
"""
