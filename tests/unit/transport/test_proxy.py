"""Proxies: the environment's rules, as curl and requests read them."""

import pytest

from headgate.core.errors import ConfigError
from headgate.transport.origin import Origin
from headgate.transport.proxy import Proxies, Proxy

P = Proxy("proxy", 3128)


@pytest.mark.parametrize(
    ("no_proxy", "url", "proxied"),
    [
        ("", "https://api.openai.com", True),
        ("*", "https://api.openai.com", False),
        ("openai.com", "https://api.openai.com", False),
        ("openai.com", "https://openai.com", False),
        ("openai.com", "https://notopenai.com", True),
        (".openai.com", "https://api.openai.com", False),
        ("*.openai.com", "https://api.openai.com", False),
        ("API.OpenAI.com", "https://api.openai.com", False),
        ("api.openai.com:443", "https://api.openai.com", False),
        ("api.openai.com:8443", "https://api.openai.com", True),
        ("a.com, openai.com", "https://api.openai.com", False),
        ("a.com openai.com", "https://api.openai.com", False),
        ("10.0.0.0/8", "http://10.1.2.3", False),
        ("10.0.0.0/8", "http://11.1.2.3", True),
        ("10.1.2.3", "http://10.1.2.3:8000", False),
        ("10.1.2.3:8000", "http://10.1.2.3:8001", True),
        ("10.0.0.0/8", "http://ten.example", True),
        ("fd00::/8", "http://[fd00::1]", False),
        ("[fd00::1]:80", "http://[fd00::1]", False),
        ("[fd00::1]:81", "http://[fd00::1]", True),
        (".", "http://x.example", True),
        (",,", "http://x.example", True),
        ("", "http://127.0.0.1:9000", False),
        ("", "http://localhost:9000", False),
        ("", "http://[::1]:9000", False),
    ],
)
def test_no_proxy(no_proxy, url, proxied):
    """NO_PROXY and loopback go straight; everything else through the proxy."""
    proxies = Proxies({"http": P, "https": P}, no_proxy)
    assert (proxies.find(Origin.parse(url)) is P) is proxied


def test_environment():
    """Lower case wins, ALL_PROXY fills gaps, each scheme has its own, empty means none."""
    found = Proxies.from_environment(
        {"https_proxy": "http://low:1", "HTTPS_PROXY": "http://up:2", "ALL_PROXY": "all:3", "NO_PROXY": "x.com"}
    )
    assert found.find(Origin.parse("https://a.com")).host == "low"
    assert found.find(Origin.parse("http://a.com")).host == "all"
    assert found.find(Origin.parse("http://x.com")) is None
    assert Proxies.from_environment({"HTTP_PROXY": ""}).find(Origin.parse("http://a.com")) is None
    assert Proxies.from_environment({"HTTP_PROXY": "p", "REQUEST_METHOD": "GET"}).find(Origin.parse("http://a")) is None


def test_credentials_never_show():
    """User and password become a header, and stay out of messages and reprs."""
    proxy = Proxy.parse("http://us%40er:hu%3Ash@p.example:8080")
    assert proxy.authorization == b"Basic dXNAZXI6aHU6c2g="
    assert "hu" not in repr(proxy)
    with pytest.raises(ConfigError) as caught:
        Proxy.parse("socks5://user:hush@p:1", "ALL_PROXY")
    assert "hush" not in caught.value.message
    assert "SOCKS" in caught.value.message
    assert caught.value.message.startswith("ALL_PROXY")


@pytest.mark.parametrize("url", ["ftp://p", "http://", "http://p:99999", "http://p q"])
def test_bad_proxies(url):
    """What is no HTTP proxy is refused."""
    with pytest.raises(ConfigError):
        Proxy.parse(url)
