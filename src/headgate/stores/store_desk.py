"""StoreDesk: what admin API and console stand on: the store, opened when first needed, and threads to use it on."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from headgate.core.errors import ConfigError, Unavailable
from headgate.stores.data import DataDir

THREADS = 4


class StoreDesk:
    """One application's own: its threads and its connections are not another's to use up.

    Attributes:
        threads: where whatever may block is done.
    """

    def __init__(self, data: DataDir | None, name: str) -> None:
        """Args:
        data: the data directory, None for a gateway without one.
        name: what the threads are called.
        """
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix=name)
        self._data = data
        self._engine: Engine | None = None
        self._opening = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The store; opened when first asked for, on the thread that asks.

        Raises:
            Unavailable: there is none, or it can not be opened now.
        """
        with self._opening:
            if self._engine is None:
                try:
                    self._engine = self.data.open_engine()
                except ConfigError as error:
                    # It could be opened when the gateway started: it is away, not wrongly configured.
                    raise Unavailable(error.message, code="store_unavailable") from error
            return self._engine

    @property
    def data(self) -> DataDir:
        """The data directory. Raises Unavailable for a gateway without one."""
        if self._data is None:
            raise Unavailable("This gateway has no store.", code="store_unavailable")
        return self._data

    def close(self) -> None:
        """Waits for what is under way, then lets go of the store."""
        self.threads.shutdown()
        if self._engine is not None:
            self._engine.dispose()
