"""Decoding of our own for Qwen3-VL: prefill once, then every pass verifies a draft of several tokens.

Reading order: `prompts` (what a row is asked, as token ids and image features), `image_features`, `kv_cache`,
`flat_text` (one pass of the language model), `drafts` and `pass_cost` (what is worth verifying), `guide` (the
grammar), `rows` (what a row keeps of a pass), `decoder` (the loop), `through_generate` (other model families).
"""
