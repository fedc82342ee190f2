"""The reward server: critiques over HTTP.

Reading order: `config` (where it listens, its limits), `server` (the routes), `requests` (what callers send), `failures`
(what they are told), `room` (how much at a time), `metrics`.
"""
