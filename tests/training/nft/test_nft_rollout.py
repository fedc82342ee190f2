"""Solver, seeds and prompts: what a rollout depends on, and what it must not depend on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

import torch
from PIL import Image
from torch import Tensor

from rationalrewards_core.critique import Critique
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.loop.history import History
from rationalrewards_core.loop.policy import RefinePolicy
from rationalrewards_core.loop.refine import RefineState, RefineStep
from rationalrewards_core.messages import UserRequest
from training.nft.config import PromptsConfig, RolloutConfig
from training.nft.families import family_class
from training.nft.presets import miniature_cpu
from training.nft.prompts import TrainingPrompt, make_prompts, read_prompts, request_key
from training.nft.rollout import DPM2, ConditioningCache, Euler, sample_groups
from training.nft.timesteps import TimesConfig, plan_times, seeded, times_per_rollout, training_noise


def integrate(solver: str, times: Tensor, field: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    stepper = DPM2(times) if solver == "dpm2" else Euler(times)
    for index, t in enumerate(times[:-1]):
        x = stepper.step(field(x, t), index, x)
    return x


def gaussian(x: Tensor, t: Tensor) -> Tensor:
    """Velocity of the flow from noise to N(0, 0.25) in one dimension: the exact answer is x_0 = x_1 / 2."""
    variance = (1 - t) ** 2 * 0.25 + t**2
    return (t - (1 - t) * 0.25) / variance * x


def test_the_second_order_solver_follows_its_formula() -> None:
    """x_t = s_t / s x - a_t (e^-h - 1) [(1 + 1/2r) x_0 - 1/2r x_0 before], half-log-SNR; ends of first order."""
    times = torch.tensor([1.0, 0.8, 0.5, 0.2, 0.0], dtype=torch.float64)
    x = torch.tensor([0.7, -1.3], dtype=torch.float64)
    found = integrate("dpm2", times, gaussian, x)
    logsnr = ((1 - times) / times).log()
    guesses: list[Tensor] = []
    for i in range(4):
        guesses.append(x - times[i] * gaussian(x, times[i]))
        if i == 3:
            x = guesses[3]
            break
        h = logsnr[i + 1] - logsnr[i]
        mixed = guesses[i]
        if i > 0:
            r = (logsnr[i] - logsnr[i - 1]) / h
            mixed = (1 + 0.5 / r) * guesses[i] - 0.5 / r * guesses[i - 1]
        x = times[i + 1] / times[i] * x - (1 - times[i + 1]) * ((-h).exp() - 1) * mixed
    torch.testing.assert_close(found, x, rtol=1e-5, atol=1e-6)


def test_the_second_order_solver_is_the_better_one() -> None:
    times, x = torch.linspace(1.0, 0.0, 11), torch.linspace(-2.0, 2.0, 9)
    errors = {solver: (integrate(solver, times, gaussian, x) - x / 2).abs().max() for solver in ("euler", "dpm2")}
    assert errors["dpm2"] < 0.5 * errors["euler"]


def test_rollouts_do_not_depend_on_their_batch() -> None:
    family = family_class("miniature").load(miniature_cpu().model)
    encoded = ConditioningCache(family)
    prompts = [TrainingPrompt(UserRequest(text)) for text in ("a large red circle", "a small blue square")]
    encoded.prepare([p.request for p in prompts])
    found = []
    for batch in (6, 4):
        config = RolloutConfig(prompts=2, group=3, steps=2, batch=batch)
        chunks = list(
            sample_groups(family, family.transformer, encoded, prompts, [(1, 0, 0), (1, 0, 1)], config, config.group)
        )
        found.append(torch.cat([chunk.x_0_B for chunk in chunks]))
    # bf16 rounds differently in batches of another size; other noise would differ by ones.
    torch.testing.assert_close(found[0], found[1], rtol=0.0, atol=0.05)
    assert (found[0][0] - found[0][1]).abs().max() > 0.5


def test_times_are_those_of_the_schedule_without_repetition() -> None:
    schedule = torch.linspace(1.0, 0.1, 10)
    plan = plan_times(TimesConfig(), schedule, 42, 0, range(3), 4)
    assert plan.shape == (3, 4, 9)
    for row in plan.reshape(-1, 9):
        assert len(set(row.tolist())) == 9
        assert set(row.tolist()) < set(schedule.tolist())
    assert not torch.equal(plan[0, 0], plan[0, 1])
    assert [times_per_rollout(TimesConfig(), n) for n in (10, 15, 25, 1)] == [9, 14, 24, 1]


def test_a_group_may_share_times_and_noise() -> None:
    config = TimesConfig(source="stratified", count=4, shared_in_group=True)
    plan = plan_times(config, torch.linspace(1.0, 0.1, 10), 42, 0, range(2), 3)
    assert torch.equal(plan[:, :1].expand_as(plan), plan)
    assert not torch.equal(plan[0], plan[1])
    parts = (plan * 4).long()
    assert torch.equal(parts, torch.arange(4).expand_as(parts))
    noise = [training_noise(config, (2, 2), 42, 0, 1, member, 0) for member in range(2)]
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], training_noise(config, (2, 2), 42, 0, 1, 0, 1))
    alone = TimesConfig()
    assert not torch.equal(*(training_noise(alone, (2, 2), 42, 0, 1, member, 0) for member in range(2)))


def test_seeds_of_different_purpose_differ() -> None:
    drawn = [torch.rand(1, generator=seeded(p, 1, 2)).item() for p in ("start", "times", "noise", "order")]
    assert len(set(drawn)) == 4
    assert torch.rand(1, generator=seeded("start", 1, 2)).item() == drawn[0]


class TestPrompts:
    def test_a_list_is_gone_through_before_it_repeats(self, tmp_path: Path) -> None:
        file = tmp_path / "p.jsonl"
        file.write_text("".join(json.dumps({"prompt": f"number {i}"}) + "\n" for i in range(6)))
        source = make_prompts(f"file:{file}", PromptsConfig(), 1)
        passes = [[p.request.text for epoch in (2 * k, 2 * k + 1) for p in source.draw(epoch, 3)] for k in range(2)]
        assert sorted(passes[0]) == sorted(passes[1])
        assert passes[0] != passes[1]
        with pytest.raises(ConfigError, match="would repeat a group"):
            source.draw(0, 7)

    def test_one_instruction_on_two_images_is_two_groups(self, tmp_path: Path) -> None:
        for name, colour in (("a", "red"), ("b", "blue"), ("c", "red")):
            Image.new("RGB", (4, 4), colour).save(tmp_path / f"{name}.png")
        file = tmp_path / "p.jsonl"
        file.write_text("".join(json.dumps({"prompt": "flip", "image": f"{n}.png"}) + "\n" for n in "abc"))
        prompts = read_prompts(file)
        assert len(prompts) == 2
        assert len({p.key for p in prompts}) == 2
        assert request_key(UserRequest("flip")) not in {p.key for p in prompts}

    def test_a_mark_and_a_separator_of_unicode_are_no_line_ends(self, tmp_path: Path) -> None:
        file = tmp_path / "p.jsonl"
        file.write_text('\ufeff{"prompt": "a cat\u2028on a mat"}\n{"prompt": "b\x85c"}\n', encoding="utf-8")
        assert [prompt.request.text for prompt in read_prompts(file)] == ["a cat\u2028on a mat", "b\x85c"]

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("{", "not JSON"),
            ("[1]", "a text `prompt` is needed"),
            ('{"text": "x"}', "a text `prompt` is needed"),
            ('{"prompt": 3}', "a text `prompt` is needed"),
            ('{"prompt": ""}', "empty"),
            ('{"prompt": "x", "image": 3}', "must be texts"),
            ('{"prompt": "x", "generate_with": ["y"]}', "must be texts"),
            ('{"prompt": "x", "image": "none.png"}', "does not exist"),
        ],
    )
    def test_a_bad_line_costs_itself_alone_and_is_named(
        self, line: str, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        file = tmp_path / "p.jsonl"
        file.write_text(line + '\n{"prompt": "fine"}\n' + line + "\n")
        assert [prompt.request.text for prompt in read_prompts(file)] == ["fine"]
        assert "2 of 3 lines are left out: 2 that are no prompts (first " in caplog.text
        assert re.search(rf"p\.jsonl:1: .*{re.escape(says)}", caplog.text)
        file.write_text(line + "\n")
        with pytest.raises(ConfigError, match=r"holds no prompts. 1 of 1 lines are left out"):
            read_prompts(file)

    @pytest.mark.parametrize(
        ("line", "says"), [(b'{"prompt": "x", "seed": 1}', "seed"), (b'{"prompt": "\xe9"}', "not in UTF-8")]
    )
    def test_what_is_wrong_with_the_whole_file_is_refused(self, line: bytes, says: str, tmp_path: Path) -> None:
        file = tmp_path / "p.jsonl"
        file.write_bytes(b'{"prompt": "fine"}\n' + line + b"\n")
        with pytest.raises(ConfigError, match=rf"p.jsonl:2.*{says}"):
            read_prompts(file)

    def test_accepted_refinements_generate_and_the_original_trains(self, tmp_path: Path, reply_text: Callable[..., str]) -> None:  # fmt: skip
        critique = Critique(rubric="generation", judgements=())
        for number, accepted in enumerate((True, False)):
            state = RefineState(request=UserRequest(f"wish {number}"), base_seed=0, policy=RefinePolicy())
            history = History(tmp_path / str(number))
            history.start(state)
            steps = (("original", f"wish {number}", 0.4, True), ("refined", f"better {number}", 0.9, accepted))
            for index, (origin, request, reward, taken) in enumerate(steps):
                history.add(
                    RefineStep(
                        index=index, request=request, seed=index, origin=origin, outcome=critique, reward=reward,  # type: ignore[arg-type]
                        accepted=taken,
                    )
                )  # fmt: skip
        (prompt,) = make_prompts(f"history:{tmp_path}", PromptsConfig(), 0).draw(0, 1)
        assert (prompt.request.text, prompt.sampled.text) == ("wish 0", "better 0")

    def test_held_out_requests_are_never_trained(self) -> None:
        config = PromptsConfig(two=1.0)
        trained = {p.request.text for e in range(20) for p in make_prompts("miniature", config, 1).draw(e, 16)}
        held = {p.request.text for p in make_prompts("miniature", config, 1, held_out=True).draw(0, 64)}
        assert len(held) == 64
        assert not held & {text.split(" with the word")[0] for text in trained}
        assert not {text.split(" with the word")[0] for text in held} & {
            text.split(" with the word")[0] for text in trained
        }
