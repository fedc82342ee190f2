"""Fine-tuning of Qwen-VL-class models into judges: `python -m training.sft`.

Reading order: `config` (what can be set, presets), `records` (the exported data), `encoding` (tokens, as the engine
sends them), `batches` (the order), `weights` (what trains), `loss`, `trainer` (the loop), `development` (early
stopping), `artefacts` (what is written), `estimate` (memory), `merge`.
"""
