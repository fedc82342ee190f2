"""The laboratory: how the shipped miniature was made, and what was proved with it.

`miniature/` trains the scorer and the generator, `teacher/` is a teacher whose faults are known,
`parrot_proof/`, `nft_proof/` and `nft_recipes/` rerun what the guides report.
"""
