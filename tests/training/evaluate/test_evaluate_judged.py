"""Opinions on disk: torn lines, other settings, two processes, outages in the middle."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from rationalrewards_core.comparison import Verdict
from rationalrewards_core.errors import ConfigError
from tests.core.fault_server import FaultServer, completion, fault, serving
from training.data.labelled_pairs import PairFolder, write_pairs
from training.evaluate.__main__ import main
from training.evaluate.judged import JudgedFile, read_judged
from training.rewards.opinions import Opinion


def told(key: str, verdict: Verdict | None = Verdict.A, reason: str = "") -> Opinion:
    return Opinion(key=key, request_id="r", label=Verdict.A, verdict=verdict, reason=reason)


def keep(file: JudgedFile, *opinions: Opinion) -> None:
    for opinion in opinions:
        asyncio.run(file.journal.append(opinion.to_json()))


class TestResults:
    def test_a_torn_line_is_asked_again(self, tmp_path: Path) -> None:
        with JudgedFile(tmp_path, "a judge", {"mode": "x"}) as file:
            keep(file, told("1"))
        with (tmp_path / "a_judge.jsonl").open("a") as lines:
            lines.write('{"key": "2", "lab')
        with JudgedFile(tmp_path, "a judge", {"mode": "x"}) as again:
            assert again.opinions == {"1": told("1")}
            keep(again, told("2", None, "truncated"))
        assert [o.key for o in read_judged(tmp_path)[0].opinions] == ["1", "2"]

    def test_other_settings_are_refused_by_their_name(self, tmp_path: Path) -> None:
        with JudgedFile(tmp_path, "j", {"temperature": 0.0, "identity": "a"}) as file:
            keep(file, told("1"))
        with pytest.raises(
            ConfigError, match=r"under other settings: temperature was 0\.0, is 1\.0; choose another --out"
        ):
            JudgedFile(tmp_path, "j", {"temperature": 1.0, "identity": "a"})
        with pytest.raises(ConfigError, match="identity was a, is b"):
            JudgedFile(tmp_path, "j", {"temperature": 0.0, "identity": "b"})
        with JudgedFile(tmp_path, "j", {"temperature": 0.0, "identity": "a", "newer": 1}) as file:
            assert len(file.opinions) == 1

    def test_a_first_try_without_an_opinion_locks_nothing(self, tmp_path: Path) -> None:
        with JudgedFile(tmp_path, "j", {"temperature": 0.0}):
            pass
        with JudgedFile(tmp_path, "j", {"temperature": 1.0}):
            pass
        assert json.loads((tmp_path / "j.json").read_text())["settings"] == {"temperature": 1.0}

    def test_two_processes_do_not_ask_the_same(self, tmp_path: Path) -> None:
        with JudgedFile(tmp_path, "j", {}), pytest.raises(ConfigError, match="Another process is asking j for"):
            JudgedFile(tmp_path, "j", {})

    def test_a_damaged_file_is_one_sentence(self, tmp_path: Path) -> None:
        with JudgedFile(tmp_path, "j", {}) as file:
            keep(file, told("1"))
        (tmp_path / "j.jsonl").write_text('{"key": "1"}\n{\n')
        with pytest.raises(ConfigError, match=r"j\.jsonl, line 1 is no record of this version"):
            read_judged(tmp_path)
        (tmp_path / "j.json").write_text("")
        with pytest.raises(ConfigError, match=r"j\.json is not a readable JSON file"):
            read_judged(tmp_path)

    @pytest.mark.parametrize("name", ["settings", "cost", "open"])
    @pytest.mark.parametrize("value", [None, 3, "much", ["a"]])
    def test_what_stands_beside_it_is_a_table_or_refused(self, name: str, value: object, tmp_path: Path) -> None:
        with JudgedFile(tmp_path, "j", {}) as file:
            keep(file, told("1"))
        about = tmp_path / "j.json"
        about.write_text(json.dumps({**json.loads(about.read_text()), name: value}))
        with pytest.raises(ConfigError, match=rf"j\.json is damaged: {name} is no table") as caught:
            read_judged(tmp_path)
        assert "\n" not in str(caught.value)
        with pytest.raises(ConfigError, match=rf"j\.json is damaged: {name} is no table"):
            JudgedFile(tmp_path, "j", {})

    def test_an_empty_folder_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="holds no results"):
            read_judged(tmp_path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply_text: Callable[..., str]) -> Iterator[FaultServer]:
    """A server `judge` in the user's own config file that gives every image the same scores."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with serving(lambda ask: completion(reply_text())) as running:
        config = tmp_path / "rationalrewards" / "config.toml"
        config.parent.mkdir()
        config.write_text(
            f'[servers.judge]\nurl = "http://127.0.0.1:{running.port}/v1"\nmodel = "judge-8b"\nretries = 0\n'
            'structured = "none"\nconcurrency = 2\ncheck_sight = false\nprobe = false\n'
        )
        yield running


def judged(folder: PairFolder, *words: str) -> int:
    out = str(folder.path / "out")
    return main(["judge", str(folder.path), "--judge", "server:judge", "--out", out, *words])


class TestOutages:
    """A judge that cannot be asked has no opinion."""

    @pytest.mark.parametrize("mode", ["pointwise", "pairwise", "plain"])
    def test_what_was_not_answered_is_asked_again(
        self, mode: str, folder: PairFolder, server: FaultServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        good = server.script
        server.script = lambda ask: fault(503)
        assert judged(folder, "--mode", mode) == 3
        told = capsys.readouterr().err
        assert "0 of 6 pairs are judged and kept, 6 are still open (server_error 6)" in told
        (lines,) = (folder.path / "out").glob("*.jsonl")
        assert lines.read_bytes() == b""
        assert main(["report", str(folder.path / "out")]) == 0
        assert "Still open for server:judge" in capsys.readouterr().out

        server.script = good if mode == "pointwise" else lambda ask: completion("TIE" if mode == "plain" else "no")
        asked = len(server.asks)
        assert judged(folder, "--mode", mode) == 0
        assert len(server.asks) == asked + 12
        opinions = read_judged(folder.path / "out")[0].opinions
        assert [opinion.key for opinion in opinions] == [labelled.key for labelled in folder.pairs()]
        verdict = None if mode == "pairwise" else Verdict.TIE  # "no" is an answer, and no comparison
        assert {opinion.verdict for opinion in opinions} == {verdict}
        assert judged(folder, "--mode", mode) == 0
        assert len(server.asks) == asked + 12, "nothing is asked twice"
        assert main(["report", str(folder.path / "out")]) == 0
        assert "Still open" not in capsys.readouterr().out

    def test_a_model_without_eyes_is_asked_no_plain_question(
        self, folder: PairFolder, server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = tmp_path / "rationalrewards" / "config.toml"
        config.write_text(config.read_text().replace("check_sight = false", "check_sight = true"))
        server.script = lambda ask: completion("TIE", usage={"prompt_tokens": 12, "completion_tokens": 1})
        assert judged(folder, "--mode", "plain") == 3
        told = capsys.readouterr().err
        assert "no_sight" in told
        assert "does not see pictures" in told
        assert server.asks
        assert not any("Image A" in ask.text for ask in server.asks)

    def test_an_outage_in_the_middle_ends_as_if_there_was_none(self, folder: PairFolder, server: FaultServer) -> None:
        good = server.script
        server.script = lambda ask: fault(503) if ask.number in (3, 4, 9) else good(ask)
        assert judged(folder) == 3
        kept = len(read_judged(folder.path / "out")[0].opinions)
        assert 3 <= kept <= 5
        assert judged(folder) == 0
        (lines,) = (folder.path / "out").glob("*.jsonl")
        broken = lines.read_bytes()
        lines.unlink()
        assert judged(folder) == 0
        assert lines.read_bytes() == broken

    def test_a_corrected_label_asks_nothing_and_counts(self, folder: PairFolder, server: FaultServer) -> None:
        assert judged(folder) == 0
        asked = len(server.asks)
        turned = [
            replace(each, pair=replace(each.pair, preference=each.pair.preference.swapped)) for each in folder.pairs()
        ]
        write_pairs(turned, folder.path)
        assert judged(folder) == 0
        assert len(server.asks) == asked
        opinions = read_judged(folder.path / "out")[0].opinions
        assert [opinion.label for opinion in opinions] == [each.pair.preference for each in turned]

    def test_a_refusal_is_the_servers_last_word(self, folder: PairFolder, server: FaultServer) -> None:
        server.script = lambda ask: fault(400, "this picture violates the policy")
        assert judged(folder) == 0
        opinions = read_judged(folder.path / "out")[0].opinions
        assert {(opinion.verdict, opinion.reason) for opinion in opinions} == {(None, "client_error")}

    def test_a_key_that_is_wrong_is_said_at_once(
        self, folder: PairFolder, server: FaultServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.script = lambda ask: fault(401)
        assert judged(folder) == 3
        assert "It stopped early: Server 'judge'" in capsys.readouterr().err
        assert len(server.asks) <= 4
