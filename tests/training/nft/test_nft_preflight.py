"""What is wrong is said before the generator is loaded: judges that are down, prompts that do not suffice."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

from rationalrewards_core.critique import Unscored
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.judged import Case, ScoreBatch
from rationalrewards_core.miniature import scorer_folder
from training.nft import preflight, trainer
from training.nft.__main__ import resolved
from training.nft.config import NFTConfig, RewardsConfig
from training.nft.rewards import make_judge
from training.nft.trainer import make_trainer


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        edits = False

        @classmethod
        def load(cls, config: Any) -> Any:
            raise AssertionError("the generator was loaded first")

    monkeypatch.setattr(trainer, "family_class", lambda name: Refusing)


def config(*settings: str) -> NFTConfig:
    return resolved("miniature_cpu", None, list(settings))


def test_a_server_that_is_down_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "rationalrewards"
    home.mkdir()
    (home / "config.toml").write_text('[servers.judge]\nurl = "http://127.0.0.1:9/v1"\nretries = 0\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"rewards.judge 'server:judge' does not judge, so nothing has been loaded"):
        make_trainer(config('rewards.judge="server:judge"'))
    with pytest.raises(ConfigError, match=r"rewards.held_out_judge 'server:judge' does not judge"):
        make_trainer(config('rewards.held_out_judge="server:judge"'))
    with pytest.raises(ConfigError, match="no server 'other'"):
        make_trainer(config('rewards.judge="server:other"'))


def test_a_reward_server_that_is_down_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(seconds: float) -> None:
        return None

    monkeypatch.setattr("training.rewards.reward_server.asyncio.sleep", at_once)
    with pytest.raises(ConfigError, match=r"'reward-server:http://127.0.0.1:9' does not judge"):
        make_trainer(config('rewards.judge="reward-server:http://127.0.0.1:9"'))


def test_prompts_that_do_not_suffice_are_said(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"a cat {i}"}) + "\n" for i in range(8)))
    for setting in ("source", "held_out"):
        with pytest.raises(ConfigError, match="There are 8 prompts; a draw of"):
            make_trainer(config(f'prompts.{setting}="file:{file}"', "rollout.prompts=12"))


def test_edits_without_an_image_are_said(tmp_path: Path) -> None:
    file = tmp_path / "edits.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"make it {i}"}) + "\n" for i in range(8)))
    asked = config(f'prompts.source="file:{file}"', 'prompts.held_out=""', "rollout.prompts=8")
    asked = replace(asked, model=replace(asked.model, family="flux_kontext"))
    with pytest.raises(ConfigError, match="flux_kontext edits images and 8 of 8 prompts have no `image`"):
        make_trainer(asked)


class Unreadable:
    """A judge that answers in no grammar."""

    def submit(self, cases: list[Case]) -> Any:
        outcome = Unscored(reason="no_heading", message="It has no headings.", raw="Nice picture.")
        return type("Done", (), {"result": lambda self: ScoreBatch((outcome,) * len(cases))})()


def test_a_judge_that_answers_oddly_about_a_grey_picture_is_no_reason_to_stop(caplog: Any) -> None:
    request = preflight.UserRequest("a cat")
    with caplog.at_level(logging.WARNING):
        preflight.check_judge("server:judge", "rewards.judge", Unreadable(), request)  # type: ignore[arg-type]
    assert "answers, but not readably" in caplog.text


def test_the_judge_takes_an_adapter() -> None:
    judge: Any = make_judge("miniature", RewardsConfig(adapter="runs/mine/adapter"))
    assert judge.backend.config.adapter == "runs/mine/adapter"
    other: Any = make_judge(f"local:{scorer_folder()}", RewardsConfig(adapter="runs/mine/adapter"))
    assert other.backend.config.adapter is None, "the held-out judge is another one"
    with pytest.raises(ConfigError, match=r"rewards.adapter belongs to a judge in this process"):
        make_judge("oracle", RewardsConfig(judge="oracle", adapter="runs/mine/adapter"))
