"""Models in ComfyUI: which files a workflow may name, and what is loaded.

Reading order: `folders` (what lies in ComfyUI's model folders), `choices` (what a workflow chose, checked), `memory` and
`patcher` (our models in ComfyUI's model management), `miniature` (the demo generator in there).
"""
