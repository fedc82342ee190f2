"""What every node that judges stands on.

Reading order: `scorers` (the value of an RR_SCORER wire), `engines` and its kinds `comfy_clip`, `server_engine`,
`managed_engine` (`served`: what both servers share), `judging` (from a node's inputs to critiques), `waiting` and
`progress`, `smaller` (what did not fit into memory), `thresholds` and `ranking` (from critiques to a gate and an order),
`check_up` (the doctor on a node).
"""
