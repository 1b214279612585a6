"""Tokens of a text: OpenAI's own tokenizers where they are installed, and which model has which."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import logging
import pathlib
import re
from collections.abc import Callable
from typing import Any

import msgspec

from headgate.core.encoding import UNKNOWN_ENCODING, Encoding

_log = logging.getLogger("headgate.tokens")

Counter = Callable[[str], int]

_ENCODINGS = ("o200k_base", "cl100k_base")
_SMALL_IMAGE, _TILES = 3_800, 1_450
_CL100K = Encoding("cl100k_base", image=_TILES)
_BY_NAME = (
    # Most tokens of an image: 8 tiles at high detail, or 1,536 patches times the model's factor.
    (r"gpt-4o-mini", Encoding("o200k_base", image=2833 + 8 * 5667)),
    (r"(?:gpt-4\.1|gpt-5|o4)-(?:mini|nano)", Encoding("o200k_base", image=_SMALL_IMAGE)),
    (r"gpt-4o|gpt-4\.[15]|chatgpt-4o|gpt-5(?![.\d])|o[134](?!\d)", Encoding("o200k_base", image=_TILES)),
    (r"gpt-4|gpt-3\.?5|text-embedding-", _CL100K),
    (r"gpt-(?:[5-9]|oss|audio|realtime|chat)|chatgpt|codex|computer-use-preview", Encoding("o200k_base")),
    (r"claude|anthropic\.claude", Encoding("", image=5_000, tools=346)),
)
_NAMES = [(re.compile(pattern), encoding) for pattern, encoding in _BY_NAME]


def encoding_of(model: str, *, exact: bool = False) -> Encoding:
    """Returns what is known of a model's counting, by its name at the provider.

    With ``exact`` bounds count with its tokenizer, which is loaded here; where there is none, bytes are counted all the
    same, and the log says so.

    Example:
        >>> encoding_of("gpt-4o-2024-08-06").name, encoding_of("openai/gpt-4-turbo").name, encoding_of("llama3.1").name
        ('o200k_base', 'cl100k_base', '')
    """
    name = model.lower().removeprefix("ft:").rpartition("/")[2]
    encoding = next((known for pattern, known in _NAMES if pattern.match(name)), UNKNOWN_ENCODING)
    if not exact:
        return encoding
    if counter(encoding.name) is None:
        _log.warning("no tokenizer for %s (is bpe-openai installed?): its input is bound by bytes", model)
        return encoding
    return msgspec.structs.replace(encoding, exact=True)


@functools.cache
def counter(name: str) -> Counter | None:
    """Returns what counts a text's tokens in an encoding; None where it is unknown, or ``bpe-openai`` is not installed.

    The first call takes 60 ms and 65 MB: not for a worker, unless its configuration asks for exact counts.
    """
    bindings = _bindings() if name in _ENCODINGS else None
    if bindings is None:
        return None
    count: Counter = bindings.tokenizer_for_encoding(name).count
    return count


@functools.cache
def _bindings() -> Any:
    """Loads the compiled part of ``bpe-openai`` by itself, None where it is not installed.

    Importing the package whole builds tables in Python that counting does not need: half a second and 65 MB more.
    """
    package = importlib.util.find_spec("bpe_openai")
    for folder in (package.submodule_search_locations if package is not None else None) or ():
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = pathlib.Path(folder, f"_bindings{suffix}")
            if path.exists():
                loader = importlib.machinery.ExtensionFileLoader("bpe_openai._bindings", str(path))
                spec = importlib.machinery.ModuleSpec(loader.name, loader, origin=str(path))
                module = importlib.util.module_from_spec(spec)
                loader.exec_module(module)
                return module
    return None
