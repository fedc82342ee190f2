"""The Bradley-Terry head: its loss by hand, learning, exact resume, and judging beside the others."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")

import torch
from PIL import Image

from rationalrewards_core.errors import ConfigError, RequestError
from rationalrewards_core.judged import Case
from rationalrewards_core.messages import UserRequest
from tests.training.app_thread import serving
from tests.training.sft.exports import labelled_pairs
from training.data.labelled_pairs import LabelledPair, write_pairs
from training.data.store import ImageStore
from training.evaluate.__main__ import main
from training.evaluate.judged import read_judged
from training.nft.bridges import flow_factory_app
from training.nft.config import RewardsConfig
from training.nft.rewards import make_judge
from training.rewards.head import load_head
from training.rewards.scalar_judge import ScalarRewardJudge
from training.rewards.scalars import load_scalar
from training.sft.config import miniature
from training.sft.scalar import ScalarConfig, ScalarTrainer, bradley_terry_loss

RED = Image.new("RGB", (48, 48), (200, 0, 0))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    pairs = labelled_pairs(ImageStore(folder), 12)
    write_pairs([LabelledPair(p.pair, "dev" if i >= 8 else "train") for i, p in enumerate(pairs)], folder)
    return folder


def config(data: Path, **changes: Any) -> ScalarConfig:
    values = {"export": str(data), "batch": 4, "micro_batch": 2, "max_steps": 4, "evaluate_every": 2, "save_every": 2}
    return ScalarConfig(sft=replace(miniature(), **{**values, "lora_rank": 4, "lora_dropout": 0.1, **changes}))


def test_the_loss_by_hand() -> None:
    # sigmoid(1) for a pair whose winner leads by 1, and for one whose winner is behind by 1: 0.7311 and 0.2689.
    loss = bradley_terry_loss(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 1.0]), torch.tensor([True, False]))
    assert float(loss) == pytest.approx(-(math.log(0.731059) + math.log(0.268941)) / 2, abs=1e-5)


@pytest.mark.model
class TestHead:
    def test_it_begins_undecided_and_learns_its_pairs(self, data: Path, tmp_path: Path) -> None:
        settings = config(data, batch=4, micro_batch=4, max_steps=6, evaluate_every=0, lr=1e-2, epochs=9.0)
        trainer = ScalarTrainer(settings, tmp_path)
        losses = []
        step = trainer._step

        def watched(number: int) -> float:
            losses.append(step(number))
            return losses[-1]

        trainer._step = watched  # type: ignore[method-assign]
        trainer.train()
        assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
        assert min(losses[-2:]) < 0.5 * losses[0]

    def test_a_stopped_run_goes_on_bit_for_bit(
        self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ScalarTrainer(config(data), tmp_path / "undisturbed").train()
        step = ScalarTrainer._step

        def dying(self: ScalarTrainer, number: int) -> float:
            if number == 3:
                raise KeyboardInterrupt
            return step(self, number)

        with monkeypatch.context() as patch:
            patch.setattr(ScalarTrainer, "_step", dying)
            with pytest.raises(KeyboardInterrupt):
                ScalarTrainer(config(data), tmp_path / "stopped").train()
        ScalarTrainer(config(data), tmp_path / "stopped").train()
        states = [torch.load(tmp_path / run / "state.pt", weights_only=True) for run in ("stopped", "undisturbed")]
        for name, value in states[1]["trained"].items():
            assert torch.equal(states[0]["trained"][name], value), name
        assert states[0]["progress"] == states[1]["progress"]

    def test_it_judges_beside_the_others(self, data: Path, tmp_path: Path) -> None:
        folder = ScalarTrainer(config(data), tmp_path / "run").train()
        out = str(tmp_path / "results")
        assert (
            main(["judge", str(data), "--split", "dev", "--judge", f"head:{folder}", "--device", "cpu", "--out", out])
            == 0
        )
        (result,) = read_judged(tmp_path / "results")
        assert len(result.opinions) == 4
        assert all(opinion.rewards is not None for opinion in result.opinions)

    def test_batches_do_not_change_a_reward(self, data: Path, tmp_path: Path) -> None:
        reward = load_head(ScalarTrainer(config(data), tmp_path).train(), "cpu")
        long, short = UserRequest("a large red circle left of a small blue square"), UserRequest("a red circle")
        with torch.inference_mode():
            together = reward.rewards([(long, RED), (short, RED)])
            alone = torch.cat([reward.rewards([(long, RED)]), reward.rewards([(short, RED)])])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_mistakes_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set method=lora"):
        ScalarConfig(sft=replace(miniature(), method="full"))
    with pytest.raises(ConfigError, match="no trained head"):
        load_head(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"config": 3}', '{"config": {"sft": []}}', '{"config": {"sft": {"model": "m"}}}']
)
def test_a_damaged_note_of_a_head_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").touch()
    (tmp_path / "training.json").write_text(text)
    with pytest.raises(ConfigError, match=r"training\.json") as caught:
        load_head(tmp_path)
    assert "\n" not in str(caught.value)


class TestPublishedScalars:
    """With stand-ins for packages that are not installed here: what is called, and what they cannot judge."""

    def test_what_is_not_installed_is_said(self) -> None:
        with pytest.raises(ConfigError, match="needs the package 'hpsv2', which is not installed"):
            load_scalar("scalar:hpsv2", "cpu")
        with pytest.raises(ConfigError, match="there are pickscore, hpsv2, imagereward, hpsv3"):
            load_scalar("scalar:unknown", "cpu")
        with pytest.raises(ConfigError, match="in the local Hugging Face cache"):
            load_scalar("scalar:pickscore", "cpu")

    @pytest.mark.parametrize(
        ("name", "files", "why"),
        [
            ("imagereward", {"ImageReward/__init__.py": "from transformers import gone_since_then"}, "ImportError"),
            (
                "hpsv2",
                {"hpsv2/__init__.py": "", "hpsv2/img_score.py": "open(__file__ + '.vocabulary')"},
                "FileNotFoundError",
            ),
        ],
    )
    def test_what_is_installed_and_cannot_work_is_said_with_a_way_out(
        self, name: str, files: dict[str, str], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As image-reward 1.5 beside transformers 5, and the hpsv2 1.2.0 wheel, which lacks its vocabulary."""
        for file, text in files.items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(ConfigError, match=rf"scalar:{name} cannot be used in this environment \({why}.*bridges"):
            load_scalar(f"scalar:{name}", "cpu")
        for module in ("ImageReward", "hpsv2", "hpsv2.img_score"):
            sys.modules.pop(module, None)

    def test_one_in_an_environment_of_its_own_is_asked_by_its_address(self) -> None:
        """Through the real bridge and its wire."""
        judge = ScalarRewardJudge(lambda cases: [float(case.candidate.getpixel((0, 0))[0]) for case in cases])
        with serving(flow_factory_app(judge)) as url:
            scalar = load_scalar(f"scalar:{url}", "cpu")
            black = Image.new("RGB", (8, 8))
            assert scalar(UserRequest("a cat"), black) == pytest.approx(0.5)  # the sigmoid of 0
            assert scalar(UserRequest("make it red", (black,)), RED) == pytest.approx(1.0)
            own = make_judge(f"scalar:{url}", RewardsConfig())
            batch = asyncio.run(own.score_many([Case(UserRequest("a cat"), picture) for picture in (black, RED)]))
            low, high = (own.reward(outcome, UserRequest("a cat")) for outcome in batch.outcomes)
            assert low < high
        with pytest.raises(ConfigError, match="No scalar reward answers at"):
            load_scalar(f"scalar:{url}", "cpu")

    @pytest.mark.parametrize("name", ["hpsv2", "imagereward", "hpsv3"])
    def test_each_is_asked_in_its_own_way(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        inferencer = SimpleNamespace(
            reward=lambda prompts, image_paths: [[len(prompts[0]) + Image.open(image_paths[0]).width, 0.1]]
        )
        modules = {
            "hpsv2.img_score": SimpleNamespace(),
            "hpsv2": SimpleNamespace(score=lambda image, text, hps_version: [len(text) + image.width]),
            "ImageReward": SimpleNamespace(
                load=lambda version, device: SimpleNamespace(score=lambda text, image: len(text) + image.width)
            ),
            "hpsv3": SimpleNamespace(HPSv3RewardInferencer=lambda device: inferencer),
        }
        for package, module in modules.items():
            module.__spec__ = object()
            monkeypatch.setitem(sys.modules, package, module)  # type: ignore[arg-type]
        scalar = load_scalar(f"scalar:{name}", "cpu")
        assert scalar(UserRequest("a cat"), RED) == 53.0
        with pytest.raises(RequestError, match="cannot judge edits"):
            scalar(UserRequest("make it red", (RED,)), RED)

    def test_pickscore_is_the_scaled_cosine(self, tmp_path: Path) -> None:
        from transformers import AutoTokenizer, CLIPConfig, CLIPImageProcessorPil, CLIPModel

        from rationalrewards_core.miniature import generator_folder
        from training.rewards.scalars import _pickscore

        tokeniser = AutoTokenizer.from_pretrained(generator_folder() / "tokenizer")
        small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        torch.manual_seed(0)
        model = CLIPModel(
            CLIPConfig(
                text_config={**small, "vocab_size": len(tokeniser), "eos_token_id": tokeniser.eos_token_id},
                vision_config={**small, "image_size": 32, "patch_size": 16},
                projection_dim=8,
            )
        ).eval()
        model.save_pretrained(tmp_path)
        tokeniser.save_pretrained(tmp_path)
        images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
        images.save_pretrained(tmp_path)
        scalar = _pickscore("cpu", (str(tmp_path), str(tmp_path)))
        found = scalar(UserRequest("a red circle"), RED)
        assert abs(found) <= float(model.logit_scale.exp()) + 1e-4
        assert found != scalar(UserRequest("a red circle"), Image.effect_noise((48, 48), 80).convert("RGB"))
        assert found == scalar(UserRequest("a red circle"), RED)
