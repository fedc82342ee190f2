"""The loop on a real server: what runs, how often, and what comes out, in every cache mode."""

from __future__ import annotations

import json

from tests.comfy.comfy_client import Client
from tests.comfy.graphs import SHOWN, loop


def test_it_stops_at_the_threshold_and_hands_on_the_best(client: Client) -> None:
    run = client.run(loop("0.2 0.5 0.4 0.9 0.3", refined="a better cat", max_iterations=6))
    assert run.error == ""
    assert run.times("gen") == 4
    assert run.text(SHOWN["iterations"]) == "4"
    assert run.text(SHOWN["reached"]) == "True"
    assert json.loads(run.text(SHOWN["history"]))["stopped"] == "reached"
