"""The ComfyUI nodes: schema, sockets, pictures to tensors and back, memory, routes. No rule of the game lives here."""
