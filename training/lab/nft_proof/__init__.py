"""The proof on the miniature world: does a reward that reasons resist being gamed? `python -m training.lab.nft_proof`."""
