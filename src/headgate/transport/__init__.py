"""HTTP/1.1 to upstreams, on ``asyncio.Protocol`` and ``httptools`` (DESIGN §4)."""
