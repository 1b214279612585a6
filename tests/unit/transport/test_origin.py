"""Origin: a provider's URL is read or refused with words."""

import pytest

from headgate.core.errors import ConfigError
from headgate.transport.origin import Origin


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "base", "authority"),
    [
        ("https://api.openai.com/v1", "https", "api.openai.com", 443, "/v1", "api.openai.com"),
        ("http://127.0.0.1:9000/v1/", "http", "127.0.0.1", 9000, "/v1", "127.0.0.1:9000"),
        ("HTTP://LocalHost", "http", "localhost", 80, "", "localhost"),
        ("http://[::1]:8080/a b".replace(" ", "%20"), "http", "::1", 8080, "/a%20b", "[::1]:8080"),
        ("https://bücher.example/ä", "https", "xn--bcher-kva.example", 443, "/%C3%A4", "xn--bcher-kva.example"),
        ("https://my_host:443/", "https", "my_host", 443, "", "my_host"),
    ],
)
def test_good_urls(url, scheme, host, port, base, authority):
    """Every part of a good URL comes out canonical."""
    origin = Origin.parse(url)
    assert (origin.scheme, origin.host, origin.port, origin.base_path) == (scheme, host, port, base)
    assert origin.authority == authority
    assert origin.join("/chat") == base.encode() + b"/chat"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com",
        "ftp://x",
        "http://",
        "http:///v1",
        "http://x:0",
        "http://x:99999",
        "http://x:port",
        "http://x?key=hush",
        "http://x#hush",
        "http://user:hush@x",
        "http://x y",
        "http://x\r\nhost: y",
        "http://[::zz]",
        "http://a_b!c",
        "http://-x.com",
    ],
)
def test_bad_urls(url):
    """A bad URL is a ConfigError that says what to do and shows no secret."""
    with pytest.raises(ConfigError) as caught:
        Origin.parse(url)
    assert caught.value.code == "bad_url"
    assert "hush" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.9.9.9", True),
        ("[::1]", True),
        ("10.0.0.1", False),
        ("x", False),
    ],
)
def test_loopback(host, loopback):
    """Loopback is known by name and by address."""
    assert Origin.parse(f"http://{host}").loopback is loopback
