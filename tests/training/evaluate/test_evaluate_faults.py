"""Five hundred pairs through `training.evaluate judge`, a fifth of them spoilt in five ways: order, counts, nothing lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

from rationalrewards_core.comparison import Verdict
from tests.core.fault_server import serving
from tests.core.spoilt_cases import (
    COUNT,
    UNANSWERED,
    config_file,
    is_called,
    picture_of,
    reward_of,
    spoiling,
    spoilt,
)  # fmt: skip
from training.data.labelled_pairs import LabelledPair, PairFolder, write_pairs
from training.data.pairs import PreferencePair
from training.data.store import ImageStore
from training.evaluate.__main__ import main
from training.evaluate.judged import read_judged
from training.rewards.opinions import Opinion

RIVAL = 600
"""The number of the picture that all others are compared with."""


@pytest.fixture
def folder(tmp_path: Path) -> PairFolder:
    """Picture `n` as A against one and the same B."""
    store = ImageStore(tmp_path / "pairs")
    rival = store.add(picture_of(RIVAL))
    pairs = [
        PreferencePair(
            request=f"request {n}", first=store.add(picture_of(n)), second=rival, preference=Verdict.A, origin="t"
        )
        for n in range(COUNT)
    ]
    write_pairs((LabelledPair(pair, "test") for pair in pairs), tmp_path / "pairs")
    return PairFolder(tmp_path / "pairs")


def test_what_was_not_answered_stays_open_and_the_next_run_completes_it(
    folder: PairFolder,
    reply_text: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    faults = spoilt(random.Random(15))
    out = tmp_path / "out"
    command = ["judge", str(folder.path), "--judge", "server:judge", "--out", str(out), "--unguided"]
    keys = [labelled.key for labelled in folder.pairs()]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with serving(spoiling(faults, reply_text)) as server:
        config_file(server, tmp_path / "rationalrewards" / "config.toml")
        assert main(command) == 3
        unanswered = {number for number, kind in faults.items() if kind in UNANSWERED}
        first = opinions(out)
        assert {keys.index(key) for key in first} == set(range(COUNT)) - unanswered
        assert f"{COUNT - len(unanswered)} of {COUNT} pairs are judged and kept" in capsys.readouterr().err
        healed = {number: kind for number, kind in faults.items() if kind not in UNANSWERED}
        server.script, asked = spoiling(healed, reply_text), len(server.asks)
        assert main(command) == 0
        # Each pair that was open; the rival's critique is asked once more, for it was another process's memory.
        assert len(server.asks) - asked <= 2 * len(unanswered)
    found = opinions(out)
    assert list(found) == keys, "in the pairs' order, each once"
    for number, opinion in enumerate(found.values()):
        if number in healed:
            assert opinion.verdict is None
            assert is_called(opinion.reason, healed[number])
        else:
            assert opinion.rewards == pytest.approx((reward_of(number), reward_of(RIVAL)))
            if number not in unanswered:
                assert opinion == first[keys[number]], "what was judged is not asked again"
    assert Counter(one.reason for one in found.values() if one.verdict is None) == Counter(healed.values())


def opinions(out: Path) -> dict[str, Opinion]:
    return {opinion.key: opinion for opinion in read_judged(out)[0].opinions}
