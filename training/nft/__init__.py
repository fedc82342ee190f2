"""DiffusionNFT (arXiv 2509.16117): a generator tuned by a judge: `python -m training.nft`.

Reading order: `config` and `presets` (what can be set), `prompts`, `families/` (how a generator is called), `policy`
(the adapter and its slow copy), `rollout`, `rewards` (judging while the next are drawn), `advantage`, `timesteps`,
`loss`, `update`, `trainer` (what an epoch needs), `train` (the loop), `evaluation`, `records`, `state` (resuming),
`lora_file` (what ComfyUI loads), `estimate` and `preflight`; `bridges` offers our reward to other trainers.
"""
