"""Generate, critique, refine.

Reading order: `policy` (the rules), `refine` (what to try next, when to stop), `refine_loop` (around a generator),
`history` (its steps on the disk), `endings` (how it ended, in a sentence).
"""
