"""The meter: what the simulator has seen and answered since its start or reset."""

from __future__ import annotations

import msgspec


class ModelMeter(msgspec.Struct):
    """Counts for one model."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class Meter(msgspec.Struct):
    """Counts since the start, or the last ``/sim/reset``.

    Attributes:
        calls: requests to the API, refused and failed ones too.
        statuses: by HTTP status sent (or meant, where a fault kept it from going out).
        faults: by kind of fault that happened.
        live_calls, peak_calls: under way now, and at most.
        live_connections, peak_connections: open now, and at most; ``connections`` all ever accepted.
        completed: performed to their end. cancelled: the client left before that.
        input_tokens, output_tokens: of answers as they would be billed.
        models: by model name, at most 1000 of them; the rest under ``"(other)"``.
    """

    calls: int = 0
    statuses: dict[int, int] = {}
    faults: dict[str, int] = {}
    live_calls: int = 0
    peak_calls: int = 0
    connections: int = 0
    live_connections: int = 0
    peak_connections: int = 0
    completed: int = 0
    cancelled: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    models: dict[str, ModelMeter] = {}

    def start(self, status: int, model: str, fault: str, input_tokens: int, output_tokens: int) -> None:
        """Counts a call that has been understood, with what it will cost."""
        self.calls += 1
        self.live_calls += 1
        if self.live_calls > self.peak_calls:
            self.peak_calls = self.live_calls
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if fault:
            self.faults[fault] = self.faults.get(fault, 0) + 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        per_model = self.models.get(model)
        if per_model is None:
            if len(self.models) >= 1000:
                model = "(other)"
            per_model = self.models.setdefault(model, ModelMeter())
        per_model.calls += 1
        per_model.input_tokens += input_tokens
        per_model.output_tokens += output_tokens

    def end(self, completed: bool) -> None:
        """Counts the end of a call."""
        self.live_calls -= 1
        if completed:
            self.completed += 1
        else:
            self.cancelled += 1

    def connect(self) -> None:
        """Counts a connection that opened."""
        self.connections += 1
        self.live_connections += 1
        if self.live_connections > self.peak_connections:
            self.peak_connections = self.live_connections

    def reset(self) -> None:
        """Starts counting anew; what is open now stays counted as open."""
        fresh = Meter(
            live_calls=self.live_calls,
            peak_calls=self.live_calls,
            live_connections=self.live_connections,
            peak_connections=self.live_connections,
        )
        for field in msgspec.structs.fields(Meter):
            setattr(self, field.name, getattr(fresh, field.name))
