"""What the reward server counts, shows and can be configured to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.critique import Unscored
from rationalrewards_core.errors import BackendError, ConfigError
from rationalrewards_core.memo import Memo
from rationalrewards_core.rubric_file import edit_rubric
from rationalrewards_core.serving import server as server_module
from rationalrewards_core.serving.config import listening_socket
from rationalrewards_core.serving.metrics import ServerMetrics
from rationalrewards_core.serving.server import ServeConfig, serve
from tests.core.serving import TOKEN, encoded, run, scorer, serving

Text = Callable[..., str]


@pytest.fixture
def png(picture: Image.Image) -> str:
    return encoded(picture)


class TestMetrics:
    def test_counts_reasons_and_latency(self, reply_text: Text, png: str) -> None:
        script: list[Any] = [reply_text(), "nonsense", "nonsense", BackendError("down", reason="connection")]

        async def work() -> None:
            async with serving(ScriptedBackend(script)) as client:
                assert (await client.metrics())["latency_seconds"] == {}
                for number in range(4):
                    await client.critique(request=f"{number}", image=png)
                metrics = await client.metrics()
                async with client.session.get(client.url + "/metrics", headers={"Accept": "text/plain"}) as answer:
                    assert answer.content_type == "text/plain"
                    lines = (await answer.text()).splitlines()
                async with client.session.get(client.url + "/metrics?format=prometheus") as answer:
                    assert answer.content_type == "text/plain"
            assert (metrics["items"], metrics["scored"], metrics["failure_rate"]) == (4, 1, 0.75)
            assert metrics["unscored"] == {"no_judgement": 2, "connection": 1}
            latency = metrics["latency_seconds"]
            assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] < 5
            assert 'rationalrewards_unscored_total{reason="no_judgement"} 2' in lines
            assert "rationalrewards_items_total 4" in lines
            assert "rationalrewards_waiting 0" in lines
            assert sum(line.startswith('rationalrewards_latency_seconds{quantile="') for line in lines) == 3

        run(work())

    def test_quantiles_by_nearest_rank(self) -> None:
        metrics = ServerMetrics()
        failed = Unscored(reason="timeout", message="late")
        for seconds in (2.0, 1.0):
            metrics.add(failed, seconds)
        assert metrics.quantiles() == {0.5: 1.0, 0.9: 2.0, 0.99: 2.0}
        for seconds in range(3, 101):
            metrics.add(failed, float(seconds))
        assert metrics.quantiles() == {0.5: 50.0, 0.9: 90.0, 0.99: 99.0}

    def test_large_counts_stay_exact(self) -> None:
        metrics = ServerMetrics()
        metrics.requests = 12_345_678
        assert "rationalrewards_requests_total 12345678\n" in metrics.to_prometheus(0, Memo())

    def test_the_rubrics_are_shown(self) -> None:
        async def work() -> None:
            async with serving(ScriptedBackend([])) as client:
                status, shown = await client.ask("GET", "/v1/rubric")
            assert status == 200
            assert [d["key"] for d in shown["edit"]["dimensions"]] == [d.key for d in edit_rubric().dimensions]
            assert shown["generation"]["scale"] == [1.0, 4.0]

        run(work())


class TestConfig:
    @pytest.mark.parametrize(
        "wrong",
        [{"port": -1}, {"port": 70_000}, {"token": "short"}, {"max_batch": 0}, {"max_waiting": 0}, {"max_pixels": 0},
         {"max_body_bytes": 0}, {"request_seconds": 0.0}, {"shutdown_seconds": -1.0}],
    )  # fmt: skip
    def test_impossible_settings_are_named(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=f"^{next(iter(wrong))} must"):
            ServeConfig(**wrong)

    def test_the_token_is_never_shown(self) -> None:
        assert TOKEN not in repr(ServeConfig(token=TOKEN))

    def test_binds_to_loopback_unless_told_otherwise(self) -> None:
        with listening_socket(ServeConfig(port=0)) as bound:
            assert bound.getsockname()[0] == "127.0.0.1"
            with pytest.raises(ConfigError, match=r"^Cannot listen on 127\.0\.0\.1:\d+: .* Choose another"):
                listening_socket(ServeConfig(port=bound.getsockname()[1]))
        with pytest.raises(ConfigError, match=r"Cannot listen on 203\.0\.113\.7:0"):
            listening_socket(ServeConfig(host="203.0.113.7", port=0))

    @pytest.mark.parametrize(("host", "token", "warned"), [("0.0.0.0", None, True), ("0.0.0.0", TOKEN, False), ("127.0.0.1", None, False)])  # fmt: skip
    def test_an_open_address_without_a_token_is_warned_about(
        self, host: str, token: str | None, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:  # fmt: skip
        monkeypatch.setattr(server_module.web, "run_app", lambda app, sock, **_: sock.close())
        ready: list[str] = []
        serve(scorer(ScriptedBackend([])), ServeConfig(host=host, port=0, token=token), ready.append)
        assert ("without a token" in caplog.text) is warned
        assert ready[0].startswith(f"http://{host}:")
