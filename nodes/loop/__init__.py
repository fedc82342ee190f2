"""What Loop Start and Loop Until Score share.

Reading order: `ends` (the two nodes), `inputs`, `state` (what a loop has done), `graph` (what it repeats), `turn` (one
iteration), `run` (what its copies hand on), `pause` and `choice` (what a person may say), `board` and `routes` (what the
page sees). Iterations that are kept: `graph_keys`, `keys`, `kept_iterations`, `exact_images`, `judgement`, `replay`.
Pictures that leave the loop: `files`, `pictures`, `made_with`, `picture_workflow`.
"""
