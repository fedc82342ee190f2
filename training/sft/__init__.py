"""Fine-tuning of Qwen-VL-class models into judges: `python -m training.sft`.

Reading order: `config` (what can be set, presets), `records` (the exported chats), `encoding` (tokens, as the engine
sends them), `batches` and `examples` (the order), `weights` (what trains), `loss`, `trainer` (the loop),
`development` (early stopping), `artefacts` (what is written, and merging), `estimate` (memory), `scalar` (the rival
without words).
"""
