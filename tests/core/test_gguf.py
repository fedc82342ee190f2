"""GGUF judges: what a file says of itself, which tower goes with which model, and how they are served."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from PIL import Image

from rationalrewards_core.backends.openai_chat import OpenAIChat
from rationalrewards_core.engines import EngineName as Name
from rationalrewards_core.engines import EngineOptions, make_backend, make_scorer
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.gguf import engine
from rationalrewards_core.gguf.files import models
from rationalrewards_core.gguf.header import read_header
from rationalrewards_core.gguf.pairs import pair, stem
from rationalrewards_core.miniature import scorer_folder
from rationalrewards_core.picture_grid import PictureGrid, grid_of_folder
from tests.core import gguf_files
from tests.core.fault_server import FaultServer, completion, serving
from tests.llama_cpp import llama_python, write_miniature


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "llama_python", lambda: sys.executable)


class TestHeader:
    def test_keys_are_read_and_lists_passed_over(self, tmp_path: Path) -> None:
        header = read_header(gguf_files.model(tmp_path / "m.gguf", general__name="Ünicode"))
        assert (header.architecture, header.width, header.context, header.is_tower) == ("qwen3vl", 64, 262_144, False)
        assert header.values["general.name"] == "Ünicode"
        assert read_header(gguf_files.tower(tmp_path / "t.gguf", 12)).width == 12

    @pytest.mark.parametrize(
        "content", [b"", b"GGUF", b"PK\3\4 zip", b"GGUF" + b"\xff" * 40, b"GGUF\3\0\0\0" + b"\1\0\0\0\0\0\0\0" * 2]
    )
    def test_a_damaged_file_is_named(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "m.gguf"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"m\.gguf (is|cannot be)"):
            read_header(path)

    def test_one_cut_short_anywhere_is_named(self, tmp_path: Path) -> None:
        path = gguf_files.model(tmp_path / "m.gguf")
        whole = path.read_bytes()
        for length in range(0, len(whole), 7):
            path.write_bytes(whole[:length])
            with pytest.raises(ConfigError):
                read_header(path)


class TestPairs:
    @pytest.mark.parametrize(
        ("model", "towers", "right"),
        [
            (
                "Judge-8B-Q4_K_M.gguf",
                ["mmproj-Judge-8B-F16.gguf", "mmproj-Other-2B-F16.gguf"],
                "mmproj-Judge-8B-F16.gguf",
            ),
            (
                "Judge-8B.Q8_0.gguf",
                ["Judge-8B.mmproj-f16.gguf", "Judge-8B.mmproj-Q8_0.gguf"],
                "Judge-8B.mmproj-f16.gguf",
            ),
            ("Judge-8B-UD-Q4_K_XL.gguf", ["mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf"], "mmproj-F16.gguf"),
            ("Judge-8B-IQ4_XS.gguf", ["mmproj-model-f16.gguf"], "mmproj-model-f16.gguf"),
            ("Judge-8B-f16.gguf", ["mmproj-Base-8B-f16.gguf"], "mmproj-Base-8B-f16.gguf"),
            ("Judge-8B-Q8_0-00001-of-00002.gguf", ["mmproj-Judge-8B-Q8_0.gguf"], "mmproj-Judge-8B-Q8_0.gguf"),
        ],
    )
    def test_by_name(self, tmp_path: Path, model: str, towers: list[str], right: str) -> None:
        path = gguf_files.model(tmp_path / model)
        for name in towers:
            gguf_files.tower(tmp_path / name)
        found = pair(path)
        assert (found.model, found.mmproj.name) == (path, right)

    @pytest.mark.parametrize(
        ("towers", "sentence"),
        [
            ([], "has no picture tower beside it; put the model's mmproj file"),
            (
                ["mmproj-A.gguf", "mmproj-B.gguf"],
                "mmproj-A.gguf, mmproj-B.gguf are beside it; name the right one mmproj-Judge-Q8_0.gguf",
            ),
            (["mmproj-Judge-q6_k.gguf", "mmproj-Judge-q5_k.gguf"], "Which picture tower goes with Judge-Q8_0.gguf?"),
        ],
    )
    def test_doubt_is_told_with_the_names(self, tmp_path: Path, towers: list[str], sentence: str) -> None:
        path = gguf_files.model(tmp_path / "Judge-Q8_0.gguf")
        for name in towers:
            gguf_files.tower(tmp_path / name)
        with pytest.raises(ConfigError) as caught:
            pair(path)
        assert sentence in str(caught.value)

    def test_one_of_another_model_is_refused(self, tmp_path: Path) -> None:
        path = gguf_files.model(tmp_path / "Judge-Q8_0.gguf", width=64)
        gguf_files.tower(tmp_path / "mmproj-Judge-Q8_0.gguf", width=32)
        with pytest.raises(
            ConfigError,
            match=r"belongs to another model than Judge-Q8_0\.gguf .it makes 32 numbers a patch, the model takes 64",
        ):
            pair(path)

    def test_a_tower_is_no_model_and_a_model_is_no_tower(self, tmp_path: Path) -> None:
        tower = gguf_files.tower(tmp_path / "judge.gguf")
        gguf_files.model(tmp_path / "mmproj-judge.gguf")
        with pytest.raises(ConfigError, match="is a picture tower"):
            pair(tower)
        gguf_files.model(tower)
        with pytest.raises(ConfigError, match="is named as a picture tower and is none"):
            pair(tower)
        with pytest.raises(ConfigError, match="There is no GGUF file"):
            pair(tmp_path / "gone.gguf")

    def test_the_list_leaves_towers_and_later_parts_out(self, tmp_path: Path) -> None:
        for name in (
            "a.gguf",
            "mmproj-a.gguf",
            "b-00001-of-00002.gguf",
            "b-00002-of-00002.gguf",
            "c.GGUF",
            "d.safetensors",
        ):
            (tmp_path / name).write_bytes(b"")
        assert [path.name for path in models(tmp_path)] == ["a.gguf", "b-00001-of-00002.gguf", "c.GGUF"]

    def test_stems_keep_what_names_a_model(self) -> None:
        assert stem(Path("Qwen2.5-VL-7B-Instruct-Q4_K_M.gguf")) == stem(Path("mmproj-Qwen2.5-VL-7B-Instruct-f16.gguf"))
        assert stem(Path("Judge-8B-T2I-Q8_0.gguf")) != stem(Path("mmproj-Judge-8B-Edit-Q8_0.gguf"))
        assert stem(Path("mmproj-F16.gguf")) == ""


class TestServing:
    def judge(self, folder: Path, **tower: int) -> Path:
        gguf_files.tower(folder / "mmproj-judge.gguf", **tower)
        return gguf_files.model(folder / "judge.gguf")

    def test_pictures_are_made_as_the_processor_of_the_family_does(self, tmp_path: Path) -> None:
        config, grid = engine.gguf_config(self.judge(tmp_path), max_pixels=802_816)
        assert (grid.side, grid.least, config.max_pixels) == (32, 65_536, 802_816)
        assert grid.fit(Image.new("RGB", (128, 128)), config.max_pixels).size == (256, 256)
        own = {"clip__vision__image_min_pixels": 2304, "clip__vision__image_max_pixels": 2304}
        _, grid = engine.gguf_config(self.judge(tmp_path, **own), max_pixels=802_816)
        assert (grid.least, grid.most) == (2304, 2304)

    def test_a_servers_processor_may_be_a_tower(self, tmp_path: Path) -> None:
        """It is read when the server is met; what is no tower is named, and so is what is not there."""
        model = self.judge(tmp_path, clip__vision__image_min_pixels=2304, clip__vision__image_max_pixels=4608)

        async def grid(server: FaultServer, processor: Path) -> PictureGrid | None:
            chat = OpenAIChat(server.config(processor=str(processor)))
            await chat.introduce()
            await chat.close()
            return chat.grid

        with serving(lambda _: completion("yes")) as server:
            assert asyncio.run(grid(server, tmp_path / "mmproj-judge.gguf")) == PictureGrid(32, 2304, 4608)
            assert asyncio.run(grid(server, tmp_path)) is None, "a folder without a preprocessor_config.json"
            with pytest.raises(
                ConfigError, match=r"judge\.gguf is no picture tower; as processor, name the mmproj file"
            ):
                asyncio.run(grid(server, model))
            with pytest.raises(ConfigError, match=r"There is no .*gone, which a server in the config file names"):
                asyncio.run(grid(server, tmp_path / "gone"))

    def test_the_miniatures_tower_says_what_its_checkpoint_says(self, tmp_path: Path) -> None:
        model = write_miniature(tmp_path, llama_python())
        config, grid = engine.gguf_config(model)
        stated = grid_of_folder(scorer_folder())
        assert grid == stated
        for size in ((48, 48), (130, 130), (64, 48), (512, 300), (20, 20)):
            picture = Image.effect_noise(size, 60).convert("RGB")
            ours, theirs = (one.fit(picture, config.max_pixels) for one in (grid, stated))
            assert ours.tobytes() == theirs.tobytes()

    def test_room_for_the_longest_reply_of_every_question(self, tmp_path: Path) -> None:
        config, _ = engine.gguf_config(self.judge(tmp_path), slots=2)
        assert config.concurrency == 2
        assert config.command[-4:] == ("--slots", "2", "--context", "8192")
        assert config.memory_gb == pytest.approx(1 + 2 * 2 * 2 * 8192 * 36 * 8 * 128 / 2**30, abs=0.06)
        assert engine.gguf_config(self.judge(tmp_path), cpu=True)[0].memory_gb == 0

    def test_without_llama_cpp_the_pip_line_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "llama_python", lambda: None)
        with pytest.raises(ConfigError) as caught:
            make_scorer(f"gguf:{self.judge(tmp_path)}")
        assert str(caught.value).endswith("not installed: " + sys.executable + " -m pip install xllamacpp")

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (EngineOptions(adapter="x"), "merge it before you write the GGUF file"),
            (EngineOptions(precision="nf4"), "has its precision already"),
            (EngineOptions(device="mps"), "takes device auto or cpu"),
            (EngineOptions(batch_size=0), "batch_size must be at least 1"),
        ],
    )
    def test_options_that_the_file_has_decided_are_refused(
        self, tmp_path: Path, options: EngineOptions, sentence: str
    ) -> None:
        with pytest.raises(ConfigError, match=sentence):
            make_backend(Name("gguf", str(self.judge(tmp_path))), options)
