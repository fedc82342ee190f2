"""`LoadedScorer` around a scripted engine: rubric, memo, failures, fewer pixels, progress and interrupts."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.critique import Critique, Judgement, Refinement, render_critique
from rationalrewards_core.rubric_file import edit_rubric
from tests.nodes.comfy_stub import Pack

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def engine(pack: Pack) -> Callable[..., Any]:
    """An engine that waits like a server's, or like a local one's, and answers from a script."""

    class ScriptedEngine:
        name, max_tokens, scope = "scripted", 100, None

        def __init__(self, replies: Any, *, here: bool = False, room: bool = False) -> None:
            self.backend = pack.core("backends.scripted").ScriptedBackend(replies, concurrency=1)
            self.rubrics: dict[str, Any] = {}
            self.identity, self.concurrency = "scripted", 1
            self.here, self.room = here, room
            self.released = self.made_room = 0
            self.stopped = threading.Event()
            self.sizes: list[tuple[int, int]] = []

        async def reply(self, messages: Any, sampling: Any) -> Any:
            self.sizes.append(messages[-1].images[-1].size)
            return await self.backend.reply(messages, sampling)

        async def run(self, work: Any, progress: Any) -> Any:
            waiting = pack.module("nodes.judge.interruptible")
            if self.here:
                return waiting.finish_here(work, progress.show, self.stopped.set)
            return await waiting.finish_beside(work, progress.show)

        def make_room(self) -> bool:
            self.made_room += 1
            return self.room

        def release(self) -> None:
            self.released += 1

    return ScriptedEngine


@pytest.fixture
def request_of(pack: Pack) -> Any:
    return pack.core("messages").UserRequest


def picture(shade: int = 0, side: int = 64) -> Image.Image:
    return Image.new("RGB", (side, side), (shade, shade, shade))


def scorer_of(pack: Pack, engine: Any, **settings: Any) -> Any:
    return pack.module("nodes.judge.scorers").LoadedScorer(engine=engine, **settings)


def judge(scorer: Any, request: Any, pictures: Any, **settings: Any) -> Any:
    return asyncio.run(scorer.critique_many(request, pictures, **settings))


def edit_reply(score: float) -> str:
    rubric = edit_rubric()
    judgements = tuple(Judgement(key=d.key, justification="So it is.", score=score) for d in rubric.dimensions)
    better = Refinement(comments="Say more.", request="make it red and bright")
    critique = Critique(rubric=rubric.name, analysis="So.", judgements=judgements, summary="Fine.", refinement=better)
    return render_critique(critique, rubric)


def out_of_memory(pack: Pack) -> Any:
    return pack.core("errors").BackendError("Out of memory on a single image.", reason="out_of_memory")


@pytest.mark.parametrize("here", [False, True])
def test_outcomes_keep_the_order_and_a_bad_reply_is_unscored(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any, here: bool
) -> None:
    scorer = scorer_of(pack, engine([reply_text(4, 4, 4), "no critique", "still none", reply_text(1, 1, 1)], here=here))
    critiques = judge(scorer, request_of("a cat"), [picture(1), picture(2), picture(3)], node_id="7")
    assert critiques.rewards == (1.0, None, 0.0)
    assert critiques.best == 0
    assert critiques.notes == ()


def test_a_second_run_asks_nobody(pack: Pack, engine: Any, request_of: Any, reply_text: Any) -> None:
    asked = engine([reply_text(4, 4, 4), reply_text(1, 1, 1)])
    first = judge(scorer_of(pack, asked), request_of("a cat"), [picture()])
    again = judge(scorer_of(pack, asked), request_of("a cat"), [picture()])
    other = judge(scorer_of(pack, asked), request_of("a dog"), [picture()])
    assert (first.rewards, again.rewards, other.rewards) == ((1.0,), (1.0,), (0.0,))


def test_a_rubric_whose_dimension_got_another_key_is_judged_anew(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any
) -> None:
    """Keys are in no prompt: a remembered critique would hold scores under names that the rubric no longer has."""
    scorer = scorer_of(pack, engine([reply_text(4, 4, 4), reply_text(4, 4, 4)]))
    rubric = pack.core("rubric_file").generation_rubric()
    first, *others = rubric.dimensions
    renamed = replace(rubric, dimensions=(replace(first, key="likeness"), *others))
    cards = pack.module("nodes.show.cards").critique_cards
    for asked in (rubric, renamed):
        critiques = judge(scorer, request_of("a cat"), [picture()], rubric=asked)
        assert cards(critiques)[0]["dimensions"][0]["key"] == asked.dimensions[0].key
        assert critiques.rewards == (1.0,)


def test_weights_change_the_reward_and_not_the_critique(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any
) -> None:
    scorer = scorer_of(pack, engine([reply_text(4, 1, 1)]))
    plain = judge(scorer, request_of("a cat"), [picture()])
    weights = {"text_faithfulness": 1.0, "physical_quality": 0.0, "text_rendering": 0.0}
    weighed = judge(scorer, request_of("a cat"), [picture()], weights=weights)
    assert plain.rewards == (pytest.approx(1 / 3),)
    assert weighed.rewards == (1.0,)
    with pytest.raises(pack.core("errors").ConfigError, match="no dimension"):
        judge(scorer, request_of("a cat"), [picture()], weights={"charm": 1.0})


def test_the_rubric_follows_the_request_unless_one_is_given(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any
) -> None:
    files = pack.core("rubric_file")
    edit = request_of("make it red", (picture(),))
    automatic = scorer_of(pack, engine([]))
    assert automatic.rubric_for(edit).kind == "edit"
    assert automatic.rubric_for(request_of("a cat")).kind == "generation"
    fixed = scorer_of(pack, engine([]), rubric=files.generation_rubric())
    with pytest.raises(pack.core("errors").RequestError, match="takes no source image"):
        judge(fixed, edit, [picture()])
    with pytest.raises(pack.core("errors").RequestError, match="connect the source image"):
        judge(automatic, request_of("a cat"), [picture()], rubric=files.edit_rubric())


def test_identity_tells_rubrics_apart(pack: Pack, engine: Any) -> None:
    files = pack.core("rubric_file")
    one = scorer_of(pack, engine([]))
    other = scorer_of(pack, engine([]), rubric=files.generation_rubric())
    assert one.identity == scorer_of(pack, engine([]), keep=False).identity
    assert one.identity != other.identity


def test_an_engine_that_fails_on_every_image_is_one_error(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any
) -> None:
    errors = pack.core("errors")
    gone = [errors.BackendError("Server 'judge' cannot be reached.", reason="unreachable")] * 2
    with pytest.raises(errors.BackendError, match="Server 'judge' cannot be reached") as caught:
        judge(scorer_of(pack, engine(gone)), request_of("a cat"), [picture(1), picture(2)])
    assert caught.value.reason == "unreachable"
    partly = judge(
        scorer_of(pack, engine([gone[0], reply_text(4, 4, 4)])), request_of("a cat"), [picture(1), picture(2)]
    )
    assert partly.rewards == (None, 1.0)


def test_replies_that_cannot_be_read_are_no_error(pack: Pack, engine: Any, request_of: Any) -> None:
    critiques = judge(scorer_of(pack, engine(["no", "no"])), request_of("a cat"), [picture()])
    assert critiques.rewards == (None,)
    assert critiques.best is None


def test_out_of_memory_is_tried_at_fewer_pixels_and_said(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any
) -> None:
    starved = engine([out_of_memory(pack), reply_text(1, 1, 1), out_of_memory(pack), reply_text(4, 4, 4)])
    critiques = judge(scorer_of(pack, starved), request_of("a cat"), [picture(1), picture(2)])
    assert critiques.rewards == (1.0, 0.0)
    assert starved.sizes == [(64, 64), (64, 64), (45, 45), (32, 32)]
    assert critiques.notes[-1] == "Out of memory: 1 of 2 images were judged at 25% of their pixels."
    assert critiques.to_json()["notes"] == list(critiques.notes)
    assert starved.made_room == 1


def test_room_that_can_be_made_is_used_before_pixels_are_lost(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any
) -> None:
    starved = engine([out_of_memory(pack), reply_text(4, 4, 4)], room=True)
    critiques = judge(scorer_of(pack, starved), request_of("a cat"), [picture()])
    assert critiques.rewards == (1.0,)
    assert starved.sizes == [(64, 64), (64, 64)]
    assert critiques.notes == ()


def test_memory_that_stays_full_is_an_error(pack: Pack, engine: Any, request_of: Any) -> None:
    with pytest.raises(pack.core("errors").BackendError, match="Out of memory"):
        judge(scorer_of(pack, engine([out_of_memory(pack)] * 3)), request_of("a cat"), [picture()])


def test_the_model_is_released_after_each_run_only_if_asked(
    pack: Pack, engine: Any, request_of: Any, reply_text: Any
) -> None:
    kept, freed = engine([reply_text(4, 4, 4)]), engine([out_of_memory(pack)] * 3)
    judge(scorer_of(pack, kept), request_of("a cat"), [picture(1)])
    with pytest.raises(pack.core("errors").BackendError):
        judge(scorer_of(pack, freed, keep=False), request_of("a cat"), [picture(2)])
    assert (kept.released, freed.released) == (0, 1)


def test_edits_with_a_source_each_are_one_run_of_the_engine(pack: Pack, engine: Any, request_of: Any) -> None:
    edits = [request_of("make it red", (picture(shade, side),)) for shade, side in ((1, 32), (2, 48))]
    shown = engine([out_of_memory(pack), edit_reply(4), edit_reply(1)])
    seen: list[Any] = []
    answered = shown.backend.reply

    async def look(messages: Any, sampling: Any) -> Any:
        seen.append([image.size[0] for image in messages[-1].images])
        return await answered(messages, sampling)

    shown.backend.reply = look
    critiques = judge(scorer_of(pack, shown, keep=False), edits, [picture(3), picture(4)])
    assert critiques.rewards == (0.0, 1.0)
    assert critiques.request is edits[0]
    assert seen == [[32, 64], [48, 64], [22, 45]], "each with its own source, made smaller together with it"
    assert shown.released == 1
    with pytest.raises(pack.core("errors").RequestError, match="connect the source image"):
        judge(scorer_of(pack, shown), [edits[0], request_of("make it red")], [picture(3), picture(4)])


def test_comparisons_judge_both_pictures(pack: Pack, engine: Any, request_of: Any, reply_text: Any) -> None:
    scorer = scorer_of(pack, engine([reply_text(1, 1, 1), reply_text(4, 4, 4)]))
    comparison = asyncio.run(scorer.compare(request_of("a cat"), picture(1), picture(2), "pointwise", "7"))
    assert comparison.verdict.value == "B"


def test_a_judge_that_compares_ranks_a_batch_and_is_paid_once(pack: Pack, engine: Any, images: Any) -> None:
    """Multi-Dim Score lets every image meet every other, Pick Best takes the winner; one image has nobody to meet."""

    def brighter(messages: Any, sampling: Any) -> str:
        first, second = (picture.getpixel((0, 0))[0] for picture in messages[-1].images)
        return f"\\boxed{{{'A' if first > second else 'B'}}}"

    judge = scorer_of(pack, engine(brighter), rubric=pack.core("rubric_file").load_rubric("skyjm-gen"))
    node, batch = pack.module("nodes.multi_dim_score").MultiDimScore, images(3)[[1, 2, 0]]
    for _ in range(2):
        out = asyncio.run(node.execute(judge, batch, "a cat", 0.8, "", ""))
        assert out[0] == [0.5, 1.0, 0.0]
        assert all(math.isnan(score) for scores in out.args[1:5] for score in scores), (
            "it judges none of these dimensions"
        )
        assert (out[6], out[7]) == (True, 1)
        assert len(judge.engine.sizes) == 6
    assert "Better than image 1. Better than image 3." in str(out.ui["rr_critique"][1]["dimensions"])
    assert pack.module("nodes.pick_best").PickBest.execute([batch], [out[-1]])[1:] == (1, 1.0)
    with pytest.raises(pack.core("errors").BackendError, match="skyjm-gen compares images: give it two or more of one"):
        asyncio.run(node.execute(judge, batch[:1], "a cat", 0.8, "", ""))


def test_a_model_that_is_taken_away_is_not_the_users_interrupt(pack: Pack, engine: Any, request_of: Any) -> None:
    errors = pack.core("errors")

    async def gone(work: Any, progress: Any) -> Any:
        raise errors.Interrupted("The critique was interrupted.")

    taken = engine([])
    taken.run = gone
    with pytest.raises(errors.BackendError, match="scripted was unloaded while it judged; queue the prompt again"):
        judge(scorer_of(pack, taken), request_of("a cat"), [picture()])
