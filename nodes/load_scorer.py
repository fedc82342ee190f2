"""Load Rational Scorer: chooses the judge and its rubric. Nothing is loaded before something is judged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..rationalrewards_core.errors import ConfigError
from ..rationalrewards_core.rubric import Rubric
from ..rationalrewards_core.rubric_file import edit_rubric, generation_rubric, load_rubric, shipped_profiles
from .context import executing_node
from .engines import choice_stamps, chosen_engine, engine_options
from .engines.widgets import number
from .models.folders import find_rubric, rubric_files
from .schema import schema
from .sockets import RubricSocket, ScorerSocket

if TYPE_CHECKING:
    from .judge.engines import Engine

MOST_TOKENS = 16384
"""Of one critique."""
RUBRICS = ("automatic", "generation", "edit")
MEMORY = ("keep loaded", "free after each run")


class LoadScorer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="RR_LoadScorer",
            display_name="Load Rational Scorer",
            advanced=("adapter", "device", "max_megapixels", "batch_size", "memory", "max_tokens"),
            description="Chooses the judge that critiques images, and the rubric it judges by.",
            search_aliases=["reward model", "judge", "critic", "score image", "VLM", "qwen", "quality"],
            hidden=[io.Hidden.extra_pnginfo],
            inputs=[
                io.DynamicCombo.Input(
                    "engine",
                    options=engine_options(),
                    tooltip="miniature: a small judge for pictures of coloured shapes, shipped with the pack. local: "
                    "a checkpoint such as RationalRewards-8B. comfy_clip: a Qwen3-VL that ComfyUI loaded itself. "
                    "server: a model server from your own config file. gguf: a GGUF file, run by llama.cpp.",
                ),
                io.Combo.Input(
                    "rubric",
                    options=[*RUBRICS, *(file.name for file in rubric_files()), *shipped_profiles()],
                    default="automatic",
                    tooltip="What is judged. automatic: edit when a source image is connected, else generation. "
                    "The other names are profiles of judges that were trained on another prompt. Your own TOML files go into "
                    "models/rationalrewards/rubrics.",
                ),
                io.Combo.Input(
                    "memory",
                    options=list(MEMORY),
                    default=MEMORY[0],
                    tooltip="keep loaded: the judge stays until ComfyUI needs its memory. free after each run: it is "
                    "unloaded after every node that used it, and loaded again by the next.",
                ),
                RubricSocket.Input(
                    "custom_rubric", optional=True, tooltip="A rubric from Custom Rubric; it overrides the list above."
                ),
                io.Boolean.Input(
                    "check",
                    default=False,
                    optional=True,
                    tooltip="Check the judge when this node runs: reached, seeing, guided, quick, at the right sizes. What to "
                    "do is shown on the node.",
                ),
                io.Int.Input(
                    "max_tokens",
                    optional=True,
                    default=0,
                    min=0,
                    max=MOST_TOKENS,
                    tooltip="Longest critique, in tokens. 0: as long as this judge needs (2048; 400 for the miniature). "
                    "Raise it when a critique was cut off.",
                ),
            ],
            outputs=[ScorerSocket.Output(display_name="scorer", tooltip="The judge, for every node that scores.")],
        )

    @classmethod
    async def execute(
        cls,
        rubric: str,
        memory: str,
        engine: dict[str, Any] | None = None,
        custom_rubric: Any = None,
        check: bool = False,
        max_tokens: int = 0,
    ) -> io.NodeOutput:
        from .judge.scorers import LoadedScorer

        choice = chosen_engine(engine)  # ComfyUI leaves out an engine that is none of the options
        if memory not in MEMORY:
            raise ConfigError(f"memory must be one of {', '.join(MEMORY)}.")
        if custom_rubric is not None and not isinstance(custom_rubric, Rubric):
            raise ConfigError("custom_rubric takes the output of a Custom Rubric node.")
        judged_by = custom_rubric if custom_rubric is not None else chosen_rubric(rubric, choice)
        longest = int(number("max_tokens", max_tokens, (0, MOST_TOKENS))) or None
        keep = memory == MEMORY[0]
        scorer = LoadedScorer(engine=choice, rubric=judged_by, keep=keep, max_tokens=longest)
        if check is not True:
            return io.NodeOutput(scorer)
        from .judge.check_up import check_up
        from .show.origin import queued_from, with_origin

        try:
            ui = await check_up(choice, executing_node())
            return io.NodeOutput(scorer, ui=with_origin(ui, queued_from(cls.hidden)))
        finally:
            if not scorer.keep:
                scorer.unload()

    @classmethod
    def fingerprint_inputs(cls, engine: Any = None, rubric: Any = None, check: Any = False, **_: Any) -> str:
        """Changed weights, adapters, rubric files and servers count as changed inputs; a check is made at every run."""
        if check is True:
            return f"checked at {time.time_ns()}"  # ComfyUI's cache takes one NaN object for itself again
        try:
            parts = choice_stamps(engine) if isinstance(engine, dict) else []
            if rubric not in (*RUBRICS, *shipped_profiles()):
                parts.append(find_rubric(rubric).read_text(encoding="utf-8", errors="replace"))
        except (ConfigError, OSError):
            # What is missing is said when the node runs.
            return "missing"
        return "|".join(parts)


def chosen_rubric(name: str, engine: Engine) -> Rubric | None:
    """None leaves the choice to each request."""
    if name == "automatic":
        return None
    if name == "generation":
        return engine.rubrics.get("generation") or generation_rubric()
    if name == "edit":
        return engine.rubrics.get("edit") or edit_rubric()
    return load_rubric(name if name in shipped_profiles() else find_rubric(name))
