"""Generate, critique, refine.

Reading order: `refine` (the rules: what to try next, when to stop), `refine_loop` (the rules around a caller's generator),
`history` (its steps on the disk), `endings` (how it ended, in a sentence).
"""
