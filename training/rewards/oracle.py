"""The miniature world's oracle as a judge: the truth as a reward, and the held-out judge of the others."""

from __future__ import annotations

from collections.abc import Sequence

from rationalrewards_core.critique import Critique
from rationalrewards_core.judged import Case, ScoreBatch
from rationalrewards_core.messages import UserRequest
from rationalrewards_core.miniature.oracle import oracle_critique
from rationalrewards_core.replies.parsing import Mode
from rationalrewards_core.reward import reward
from rationalrewards_core.rubric import Rubric
from rationalrewards_core.rubric_file import generation_rubric


class OracleJudge:
    """Reads every picture and says what is true of it; it never fails and knows no edits."""

    async def score_many(self, cases: Sequence[Case], mode: Mode = "critique") -> ScoreBatch:
        return ScoreBatch(tuple(oracle_critique(case.request.text, case.candidate) for case in cases))

    def reward(self, critique: Critique, request: UserRequest, *, expected: bool = False) -> float:
        return reward(critique, self.rubric_for(request), expected=expected)

    def rubric_for(self, request: UserRequest) -> Rubric:
        return generation_rubric()

    async def close(self) -> None:
        return None
