"""The run: makes calls at their times, whatever their answers take (open loop), and adds up what comes of them.

Every time counts from the moment at which the call was *meant* to start. A server that stalls, or a load generator
that falls behind, makes callers wait; a clock that starts when the request is finally sent would not see it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from headgate.core.errors import Forbidden
from headgate.load.answer import Answer
from headgate.load.arrivals import Arrival, Arrivals
from headgate.load.connection import Wires
from headgate.load.tally import Tally, Timed
from headgate.load.target import Target

MOST_OPEN = 5_000
_LOOK_S = 0.2


class Run:
    """One run of load.

    Attributes:
        tally: what it has seen so far.
        open: calls under way.
    """

    def __init__(
        self,
        target: Target,
        arrivals: Arrivals,
        *,
        timeout: float = 120.0,
        most_open: int = MOST_OPEN,
        stream_share: float = 1.0,
        use_models: bool = False,
    ) -> None:
        """Args:
        target: where calls go.
        arrivals: when, and how large.
        timeout: seconds from the intended start after which a call is given up.
        most_open: calls that may be under way; further ones are not made, and count as failed.
        stream_share: which part of the calls is streamed, where arrivals do not say.
        use_models: whether an arrival's own model is asked for.
        """
        self.tally = Tally(arrivals.seconds)
        self.open = 0
        self._target, self._arrivals = target, arrivals
        self._timeout, self._most_open = timeout, most_open
        self._stream_share, self._use_models = stream_share, use_models
        self._wires = Wires(target.host, target.port, target.tls)

    async def play(self, look: Callable[[Run], None] | None = None) -> None:
        """Makes every call and waits for its end; ``look`` is called now and then. Cancelled, it drops what is open.

        Raises:
            Forbidden: all calls are refused (401, 403 or 404), and the next ones would be.
        """
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()
        looking = None if look is None else loop.create_task(self._look(look))
        start = loop.time()

        def end(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            self.open -= 1

        try:
            for number, arrival in enumerate(self._arrivals.read()):
                self._check_refused()
                wait = start + arrival.at - loop.time()
                if wait > 0 or number % 16 == 0:  # where it is late, answers must be read in between
                    await asyncio.sleep(max(0.0, wait))
                if self.open >= self._most_open:
                    self.tally.skip(arrival.at)
                    continue
                self.open += 1  # not once the task runs: where the load is late, several are made in between
                task = loop.create_task(self._call(number, arrival, start + arrival.at))
                tasks.add(task)
                task.add_done_callback(end)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            if looking is not None:
                looking.cancel()
            await asyncio.gather(*tasks, *([] if looking is None else [looking]), return_exceptions=True)
            self._wires.close()
        if look is not None:
            look(self)

    def _check_refused(self) -> None:
        refusal = self.tally.refused()
        if refusal:
            raise Forbidden(
                f"all of the first {self.tally.ended} calls were refused: {refusal}; "
                "the load has ended early. Look at the URL, at --key and at --model."
            )

    async def _look(self, look: Callable[[Run], None]) -> None:
        while True:
            look(self)
            await asyncio.sleep(_LOOK_S)

    async def _call(self, number: int, arrival: Arrival, intended: float) -> None:
        loop, tally = asyncio.get_running_loop(), self.tally
        stream = arrival.stream
        if stream is None:
            # Evenly spread, and the same in every run.
            stream = int((number + 1) * self._stream_share) > int(number * self._stream_share)
        request = self._target.request(
            number,
            arrival.input_tokens,
            arrival.output_tokens,
            stream=stream,
            model=arrival.model if self._use_models else "",
        )
        answer = Answer(stream, loop.time, tally.gaps)
        sent = loop.time()
        tally.begin(arrival.at, sent - intended)
        waited = True
        try:
            async with asyncio.timeout_at(intended + self._timeout):
                await self._wires.exchange(request, answer)
            error = answer.error
            waited = not error or error.startswith("broken")
        except TimeoutError:
            error = f"timeout after {self._timeout:g} s"
        except ssl.SSLError as failed:
            error, waited = f"TLS: {failed.reason or 'failed'}"[:60], False
        except OSError as failed:
            error, waited = f"connection: {type(failed).__name__}", False
        end = loop.time()
        tally.ended += 1
        if error:
            tally.fail(arrival.at, error)
        else:
            tally.service.add((end - sent) * 1e6)
            tally.keep(Timed(answer.id, (answer.first - sent) * 1e6 if answer.first else -1.0, (end - sent) * 1e6))
        if answer.usage is not None:
            tally.input_tokens += answer.usage[0]
            tally.output_tokens += answer.usage[1]
        if waited:
            # One that was given up waited at least so long; to leave it out would hide the worst.
            tally.wait(arrival.at, ((answer.first or end) - intended) * 1e6, (end - intended) * 1e6)
