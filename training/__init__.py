"""Training: a judge of one's own (PARROT, then fine-tuning), measured, and a generator tuned by it (DiffusionNFT).

Floors, lowest first; none imports from one above it (`tests/test_layers.py`):

- `data`: preference pairs, images by reference, importers, and jobs that survive a kill;
- `rewards`: everything that judges a pair or a picture, and the figures of its opinions;
- `parrot`, `evaluate`, `sft`: from preferences to rationales, judges measured side by side, fine-tuning;
- `nft`: a generator tuned by a judge;
- `personal`: both by one command each, from your own picks;
- `lab`: the miniature's own training, the synthetic teacher, and both proofs.

`settings`, `run_settings`, `run`, `pace`, `sharding`, `figures` and `contact_sheet` are what every long run shares.
The installed package is called `rationalrewards_training`; in a checkout it is `training`.
"""

from typing import Final

PACKAGE: Final = __name__
"""What this package is called where it runs: the commands of other processes name it."""
