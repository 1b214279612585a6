"""Source: where a process has its settings from (file, environment, options), to read them, and to read them again."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from headgate.config.changes import secrets
from headgate.config.load import DEFAULT_FILE, find_file, load_settings
from headgate.config.settings import Settings
from headgate.core.errors import ConfigError

Stamps = dict[str, tuple[int, int, int, int] | None]
"""By path: when a file was written and changed (ns), its size (bytes) and inode; None where there is none."""


class Source:
    """Reads the settings as ``load_settings`` does, any number of times, always from the same file.

    Attributes:
        file: the configuration's absolute path; where there is none, the one in the working directory that is read
            as soon as there is one.
        version: the first 12 hex digits of the SHA-256 of the file as it was last read without an error; "" where
            there is no file.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        overrides: Mapping[str, tuple[str, Any]] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Arguments as ``load``."""
        found = find_file(config, environ=environ)
        self.file = found or pathlib.Path(DEFAULT_FILE).absolute()
        self.version = ""
        self._config = config
        self._overrides = overrides
        self._environ = environ
        self._pinned = found is not None
        self._again = False
        self._blank = False
        # What came through a pipe can be read once only.
        self._piped = found is not None and found.exists() and not found.is_file()

    def load(self) -> Settings:
        """Reads everything and checks it. Blocks while it does.

        Raises:
            ConfigError: see ``load``. Read again, also for a file that is gone, that came through a pipe, or that
                holds no settings any more (an editor that writes in pieces): ``{}`` says that none are meant.
        """
        if not self._again:
            data = self._bytes()
            settings = load_settings(self._config, overrides=self._overrides, environ=self._environ)
        else:
            if self._piped:
                raise ConfigError(f"{self.file} is no regular file: it was read at the start, and can not be again")
            data = self._bytes()
            if data is not None and not self._blank and is_blank(data):
                raise ConfigError(f"{self.file}: holds no settings any more; write {{}} if none are meant")
            file = self.file if self._pinned or data is not None else None
            settings = load_settings(file, overrides=self._overrides, environ=self._environ)
        self._again = True
        self._pinned = self._pinned or data is not None
        self._blank = data is not None and is_blank(data)
        self.version = hashlib.sha256(data).hexdigest()[:12] if data is not None else ""
        return settings

    def watched(self, settings: Settings) -> list[str]:
        """Returns the paths to look at: the file, and the mounted secrets of these settings."""
        files = [secret.reference[5:] for _, secret in secrets(settings) if secret.reference.startswith("file:")]
        return files if self._piped else [str(self.file), *files]

    def _bytes(self) -> bytes | None:
        """The file's bytes; None where there is none to be read, which ``load_settings`` tells better."""
        if self._piped:
            return None
        try:
            return self.file.read_bytes()
        except OSError:
            return None


def is_blank(data: bytes) -> bool:
    """Returns whether a file holds nothing but blank lines, comments and document marks."""
    lines = (line.strip() for line in data.removeprefix(b"\xef\xbb\xbf").splitlines())
    return all(not line or line == b"---" or line.startswith(b"#") for line in lines)


def look_at(paths: Iterable[str]) -> Stamps:
    """Looks at files without reading them."""
    found: Stamps = {}
    for path in paths:
        try:
            state = os.stat(path)
        except OSError:
            found[path] = None
        else:
            found[path] = (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino)
    return found
