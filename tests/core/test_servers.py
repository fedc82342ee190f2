"""Named servers: the config file, what is wrong with it in plain words, and keys that stay out of sight."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from rationalrewards_core.config_file import default_config_path
from rationalrewards_core.errors import ConfigError
from rationalrewards_core.servers import ServerConfig, load_servers, server

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEY = "sk-very-secret-0123456789"
URL = "http://127.0.0.1:8000/v1"


def written(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    """What loading says; it names the file and shows no key."""
    with pytest.raises(ConfigError) as caught:
        load_servers(path)
    said = str(caught.value)
    assert str(path) in said
    assert KEY not in said
    return said


def test_two_servers(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        f"""
        [servers.judge]
        url = "{URL}"
        model = "RationalRewards-8B-T2I"
        timeout_seconds = 60
        structured = "vllm"
        logprobs = false
        [servers."my teacher"]
        url = "https://example.org:8443/api/v1/"
        """,
    )
    judge, teacher = server("judge", path), server("my teacher", path)
    assert (judge.name, judge.url, judge.model) == ("judge", URL, "RationalRewards-8B-T2I")
    assert (judge.timeout_seconds, judge.structured, judge.logprobs) == (60, "vllm", False)
    assert (teacher.model, teacher.concurrency, teacher.structured) == ("", 8, "auto")
    assert list(load_servers(path)) == ["judge", "my teacher"]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + f'[servers.a]\nurl = "{URL}"\n'.encode())
    assert list(load_servers(path)) == ["a"]


def test_no_file_means_no_servers(tmp_path: Path) -> None:
    path = tmp_path / "none" / "config.toml"
    assert load_servers(path) == {}
    with pytest.raises(ConfigError) as caught:
        server("judge", path)
    assert "no such file" in str(caught.value)
    assert "[servers.judge]" in str(caught.value), "it says what to write"


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    path = written(tmp_path, f'[servers.b]\nurl = "{URL}"\n[servers.a]\nurl = "{URL}"\n')
    with pytest.raises(ConfigError, match="it knows a, b"):
        server("judge", path)
    with pytest.raises(ConfigError) as caught:
        server('the "judge"', path)
    advice = str(caught.value).split("Add: ")[1].split(" and under")[0]
    assert advice == '[servers."the \\"judge\\""]', "what is to be pasted is TOML"
    with pytest.raises(ConfigError, match="names no server yet"):
        server("judge", written(tmp_path, ""))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[servers.a", "cannot be read"),
        ('{"servers": {"a": {"url": "http://a/v1"}}}', "cannot be read"),
        ("x = " + "[" * 5000, "cannot be read"),
        ('[server.a]\nurl = "http://a/v1"', "unknown key 'server'"),
        ("servers = 3", "must be tables"),
        ("[servers]\na = 3", "servers.a must be a table"),
        ('[servers.a]\nmodel = "m"', "servers.a needs a url"),
        (f'[servers.a]\nurl = "http://a/v1"\napikey = "{KEY}"', "unknown key 'apikey' in servers.a; known keys are api_key,"),
        (f'[servers.a]\nurl = "http://a/v1"\napi_key = ["{KEY}"]', "servers.a.api_key has the wrong type"),
        ('[servers.a]\nurl = "http://a/v1"\nconcurrency = true', "servers.a.concurrency has the wrong type"),
        ('[servers.a]\nurl = "http://a/v1"\nconcurrency = 1.5', "servers.a.concurrency has the wrong type"),
        ('[servers.a]\nurl = "http://a/v1"\nlogprobs = 1', "servers.a.logprobs has the wrong type"),
        ('[servers.a]\nurl = "http://a/v1"\nname = "b"', "unknown key 'name'"),
        ('[servers.a]\nurl = "http://a/v1"\nconcurrency = 0', "servers.a.concurrency must be at least 1, not 0"),
        ('[servers.a]\nurl = "http://a/v1"\ntimeout_seconds = nan', "servers.a.timeout_seconds must be at least"),
        ('[servers.a]\nurl = "http://a/v1"\ntimeout_seconds = inf', "servers.a.timeout_seconds must be at least"),
        ('[servers.a]\nurl = "http://a/v1"\nretries = -1', "servers.a.retries must be between 0 and 20"),
        ('[servers.a]\nurl = "http://a/v1"\nstructured = "magic"', "servers.a.structured must be one of auto, vllm"),
        (f'[servers.a]\nurl = "http://a/v1"\napi_key = "{KEY}"\napi_key_env = "K"', "both api_key and api_key_env"),
    ],
)  # fmt: skip
def test_mistakes_are_named(text: str, said: str, tmp_path: Path) -> None:
    assert said in complaint(written(tmp_path, text))


def test_files_that_are_no_text(tmp_path: Path) -> None:
    assert "cannot be read" in complaint(tmp_path)
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in complaint(tmp_path / "config.toml")


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:8000", "localhost/v1", "file:///etc/passwd", "ftp://host/v1", "http://", "http:///v1",
        "http://[::1/v1", "http://host:99999/v1", "http://host:port/v1", "http://host:0/v1", "http://ho st/v1",
        "http://host/v1\n", "http://host/\x00",
    ],
)  # fmt: skip
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConfigError, match=r"servers\.a\.url must be an http or https address"):
        ServerConfig(name="a", url=url)


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{KEY}@host/v1",
        f"ftp://user:{KEY}@host/v1",
        f"user:{KEY}@host/v1",
        f"http://user:{KEY}@host:99999/v1",
        f"https://host/v1?key={KEY}",
        f"https://host/v1#{KEY}",
        "http://@host/v1",
    ],
)
def test_addresses_with_secrets_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ServerConfig(name="a", url=url)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("url", [URL, "https://api.example.org/v1/", "http://[::1]:8000/v1", "http://gpu-7/v1"])
def test_addresses_that_are_fine(url: str) -> None:
    assert ServerConfig(name="a", url=url).url == url


class TestKeys:
    def test_from_the_file(self, tmp_path: Path) -> None:
        config = server("a", written(tmp_path, f'[servers.a]\nurl = "{URL}"\napi_key = "{KEY}"'))
        assert config.key() == KEY
        assert KEY not in repr(config)
        assert KEY not in f"{config}"

    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = ServerConfig(name="a", url=URL, api_key_env="RR_TEST_KEY")
        monkeypatch.setenv("RR_TEST_KEY", KEY)
        assert config.key() == KEY
        monkeypatch.setenv("RR_TEST_KEY", f"  {KEY}\r\n")
        assert config.key() == KEY, "read from a file with a line end"
        for unset in ("", " \n"):
            monkeypatch.setenv("RR_TEST_KEY", unset)
            with pytest.raises(ConfigError, match="RR_TEST_KEY, which is not set"):
                config.key()
        monkeypatch.delenv("RR_TEST_KEY")
        with pytest.raises(ConfigError, match="RR_TEST_KEY, which is not set"):
            config.key()

    def test_none_at_all(self) -> None:
        assert ServerConfig(name="a", url=URL).key() == ""

    @pytest.mark.parametrize("key", [f"{KEY}\r\nHost: evil", f"{KEY} twice", f"{KEY}\u200b", f"{KEY}ü"])
    def test_what_no_header_can_carry(self, key: str) -> None:
        with pytest.raises(ConfigError) as caught:
            ServerConfig(name="a", url=URL, api_key=key).key()
        assert KEY not in str(caught.value)


def test_where_the_file_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_config_path() == tmp_path / "rationalrewards" / "config.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_config_path() == tmp_path / ".config" / "rationalrewards" / "config.toml"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("APPDATA", str(tmp_path / "Roaming"))
    assert default_config_path() == tmp_path / "Roaming" / "rationalrewards" / "config.toml"
    (tmp_path / "Roaming" / "rationalrewards").mkdir(parents=True)
    written(tmp_path / "Roaming" / "rationalrewards", f'[servers.mine]\nurl = "{URL}"')
    assert server("mine").url == URL


def test_the_chat_template_is_a_table_of_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[servers.a]\nurl = "http://h/v1"\n[servers.a.template]\nenable_thinking = false\n')
    assert load_servers(path)["a"].template == {"enable_thinking": False}
    for wrong in ("template = 3", "[servers.a.template]\nthink = [1]", '[servers.a.template]\n"a b" = 1'):
        path.write_text(f'[servers.a]\nurl = "http://h/v1"\n{wrong}\n')
        with pytest.raises(ConfigError, match="template"):
            load_servers(path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('model = "x"', "must leave model to this program"),
        ("stream = true", "must leave stream to this program"),
        ("when = 2026-01-01", "what JSON can say"),
        ("far = inf", "what JSON can say"),
    ],
)
def test_further_fields_of_a_request(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[servers.a]\nurl = "http://h/v1"\n[servers.a.fields]\nreasoning_effort = "low"\n')
    assert load_servers(path)["a"].fields == {"reasoning_effort": "low"}
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(ConfigError, match=words):
        load_servers(path)


def test_the_document_names_every_key_with_its_default() -> None:
    """docs/servers.md; what starts a server of one's own is told elsewhere."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "servers.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (`[^|]+`) \| (`[^|]+`|empty) \|", text, flags=re.MULTILINE))
    told = {}
    for names, values in rows.items():
        told |= dict(zip(re.findall(r"`(\w+)`", names), re.findall(r"`([^`]+)`", values) or ["empty"], strict=True))
    elsewhere = {"name", "url", "model", "command", "environment", "idle_seconds", "start_seconds", "memory_gb"}
    config = ServerConfig(name="a", url=URL)
    keys = {field.name for field in fields(ServerConfig)} - elsewhere - {"api_key", "api_key_env"}
    assert told.keys() == keys
    for key, value in told.items():
        default = getattr(config, key)
        assert (
            value == "empty"
            if not default and not isinstance(default, (bool, int))
            else tomllib.loads(f"x = {value}") == {"x": default}
        )
