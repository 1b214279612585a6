"""Distributions of times and speeds: constant, uniform, exponential, lognormal, or by percentiles."""

from __future__ import annotations

import math
from typing import Any, Protocol

import msgspec

from headgate.core.errors import ConfigError
from headgate.sim.draws import Draws
from headgate.sim.strict import convert


class Distribution(Protocol):
    """Something to draw non-negative numbers from."""

    def draw(self, draws: Draws) -> float:
        """Returns one value, never negative."""


class Constant(msgspec.Struct, frozen=True):
    """Always ``value``; draws nothing."""

    value: float

    def draw(self, draws: Draws) -> float:
        """Returns the value."""
        return self.value


class Uniform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Evenly between ``min`` and ``max``."""

    min: float
    max: float

    def draw(self, draws: Draws) -> float:
        """Returns one value."""
        return self.min + (self.max - self.min) * draws.uniform()


class Exponential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``min`` plus an exponential wait with mean ``mean``."""

    mean: float
    min: float = 0.0

    def draw(self, draws: Draws) -> float:
        """Returns one value."""
        return self.min + self.mean * draws.exponential()


class LogNormal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The usual shape of latencies, by its median ``p50`` and its ``p99``."""

    p50: float
    p99: float

    def draw(self, draws: Draws) -> float:
        """Returns one value."""
        if self.p50 <= 0.0:
            return 0.0
        sigma = math.log(self.p99 / self.p50) / 2.3263478740408408
        return self.p50 * math.exp(sigma * draws.normal())


class Percentiles(msgspec.Struct, frozen=True):
    """Measured percentiles, straight lines between them, e.g. ``{0: 0.2, 97: 0.2, 97.1: 5, 100: 5}``."""

    points: tuple[tuple[float, float], ...]

    def draw(self, draws: Draws) -> float:
        """Returns one value."""
        at = draws.uniform() * 100.0
        low_at, low = 0.0, self.points[0][1]
        for high_at, high in self.points:
            if at <= high_at:
                if high_at == low_at:
                    return high
                return low + (high - low) * (at - low_at) / (high_at - low_at)
            low_at, low = high_at, high
        return low


INSTANT = Constant(0.0)


def parse_distribution(value: Any, path: str) -> Distribution:
    """Reads a distribution from YAML: a number, or one of these mappings.

    ``{uniform: {min: 1, max: 2}}``, ``{exponential: {mean: 1}}``, ``{lognormal: {p50: 1, p99: 3}}``,
    ``{percentiles: {50: 1, 99: 3}}``.

    Raises:
        ConfigError: any other shape, a negative number, or bounds the wrong way round; names ``path``.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Constant(_positive(float(value), path))
    if not isinstance(value, dict) or len(value) != 1:
        raise ConfigError(f"{path}: expected a number or one of uniform, exponential, lognormal, percentiles")
    kind, inner = next(iter(value.items()))
    where = f"{path}.{kind}"
    if kind == "percentiles":
        return _percentiles(inner, where)
    if kind == "uniform":
        uniform = convert(inner, Uniform, where)
        if not 0 <= uniform.min <= uniform.max:
            raise ConfigError(f"{where}: needs 0 <= min <= max")
        return uniform
    if kind == "exponential":
        exponential = convert(inner, Exponential, where)
        _positive(min(exponential.mean, exponential.min), where)
        return exponential
    if kind == "lognormal":
        lognormal = convert(inner, LogNormal, where)
        if not 0 < lognormal.p50 <= lognormal.p99:
            raise ConfigError(f"{where}: needs 0 < p50 <= p99")
        return lognormal
    raise ConfigError(f"{path}: unknown distribution '{kind}'; use uniform, exponential, lognormal or percentiles")


def parse_distribution_text(text: str, path: str, *, scale: float = 1.0) -> Distribution:
    """Reads a distribution from one word of a command line: ``250``, ``lognormal:300,2000``, ``uniform:1,2``,
    ``exponential:100``. Every number is multiplied by ``scale`` (0.001 turns milliseconds into seconds).

    Raises:
        ConfigError: another shape.
    """
    kind, colon, rest = text.partition(":")
    try:
        numbers = [float(word) * scale for word in (rest if colon else text).split(",")]
    except ValueError:
        raise ConfigError(f"{path}: '{text}' holds no numbers; try 250 or lognormal:300,2000") from None
    if not colon and len(numbers) == 1:
        return parse_distribution(numbers[0], path)
    names = {"uniform": ("min", "max"), "lognormal": ("p50", "p99"), "exponential": ("mean",)}.get(kind)
    if names is None or len(names) != len(numbers):
        raise ConfigError(f"{path}: use a number, uniform:MIN,MAX, lognormal:P50,P99 or exponential:MEAN, not '{text}'")
    return parse_distribution({kind: dict(zip(names, numbers, strict=True))}, path)


def _percentiles(inner: Any, path: str) -> Percentiles:
    try:
        points = tuple(sorted((float(at), float(value)) for at, value in inner.items()))
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(f"{path}: expected percentiles as numbers, e.g. {{50: 0.2, 99: 2}}") from None
    if not points or points[0][0] < 0 or points[-1][0] > 100 or min(value for _, value in points) < 0:
        raise ConfigError(f"{path}: percentiles are 0..100 and their values not negative")
    return Percentiles(points)


def _positive(value: float, path: str) -> float:
    if not 0 <= value < math.inf:
        raise ConfigError(f"{path}: must be zero or a positive number")
    return value
