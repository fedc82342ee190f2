"""Where the example workflows come from; ComfyUI never imports this."""
