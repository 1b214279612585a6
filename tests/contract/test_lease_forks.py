"""A process that forks: its children neither hold nor release what it has leased, nor write to its meter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

from sqlalchemy import select

from headgate.stores.data import DataDir
from headgate.stores.leases.closing import close_dead
from headgate.stores.schema import lease_windows

_PARENT = """
    import asyncio, gc, os, sys
    from pathlib import Path
    from headgate.core.clock import SystemClock
    from headgate.core.errors import Unavailable
    from headgate.core.rule import LimitRule
    from headgate.pipeline.lease_meter import LeaseMeter
    from headgate.stores.leases.desk import LeaseDesk
    from headgate.stores.leases.sql import SqlLeases

    def in_child(meter, desk, window, hold):
        hold.settle((1, 0, 0, 0))  # as when a dropped answer is collected
        try:
            meter.reserve([window], (5, 0, 0, 0), None).send(None)
        except Unavailable as error:
            assert "open a gateway in each process" in error.message, error.message
        else:
            raise AssertionError("reserved in a child")
        try:
            desk.take()
        except Unavailable:
            pass
        else:
            raise AssertionError("a slot for a child")
        meter.close()
        desk.close([])

    async def main():
        loop = asyncio.get_running_loop()
        desk = LeaseDesk(SqlLeases({url!r}, "parent", {owner!r}), loop, Path({path!r}), "parent")
        meter = LeaseMeter(desk, SystemClock(), loop)
        window = meter.open(LimitRule("everything", "", "dollars", "month", 1000), "")
        (await meter.reserve([window], (30, 0, 0, 0), None)).settle((20, 0, 0, 0))
        hold = await meter.reserve([window], (50, 0, 0, 0), None)
        child = os.fork()
        if child == 0:
            try:
                in_child(meter, desk, window, hold)
                print("child ok", flush=True)
            except BaseException as error:
                print(f"child: {{error!r}}", flush=True)
                os._exit(1)
            sys.stdin.read()  # it outlives its parent
            os._exit(0)
        await asyncio.sleep(60)

    asyncio.run(main())
"""


def test_a_child_has_no_part_in_its_parents_leases(data: DataDir) -> None:
    """It refuses what is limited and changes nothing; the parent's life and death alone decide over its leases."""
    script = textwrap.dedent(_PARENT).format(url=data.url, owner=data.owner, path=str(data.path))
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    engine = data.open_engine()
    try:
        assert parent.stdout.readline() == "child ok\n"
        assert close_dead(engine, data.path, data.owner) == 0, "the parent lives, whatever its child has closed"
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert close_dead(engine, data.path, data.owner) == 1, "the child holds no lock"
        with engine.connect() as connection:
            (row,) = connection.execute(select(lease_windows)).all()
        assert (row.settled, row.held, row.presumed) == (70, 0, 50)
    finally:
        engine.dispose()
        parent.kill()
        parent.stdin.close()
        parent.stdout.read()
        parent.stdout.close()
        parent.wait()


_LIBRARY = """
    import asyncio, multiprocessing, sys
    from headgate import Gateway, SyncGateway

    def work(number):
        try:
            return shared.complete("sim/echo", "Hi").text
        except RuntimeError as error:
            return str(error)

    def own(number):
        with SyncGateway(data={path!r}) as gateway:
            return gateway.complete("sim/echo", f"Hi {{number}}").text

    if __name__ == "__main__":
        fork = multiprocessing.get_context("fork")
        with SyncGateway(data={path!r}) as shared:
            print(shared.complete("sim/echo", "parent").text)
            with fork.Pool(1) as pool:
                print(pool.map(work, [1]))
                print(pool.map(own, [1, 2]))
            print(shared.complete("sim/echo", "parent again").text)
"""


def test_a_gateway_in_a_forked_worker(tmp_path: object) -> None:
    """A gateway of the parent refuses at once, and says what to do; one of the worker's own works, the parent's too."""
    script = textwrap.dedent(_LIBRARY).format(path=f"{tmp_path}/data")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[0] == "parent"
    assert "make one in each process" in lines[1]
    assert lines[2:] == ["['Hi 1', 'Hi 2']", "parent again"]


def test_an_async_gateway_in_a_forked_child(tmp_path: object) -> None:
    """The same, for one that is opened on the parent's loop; it says so before it speaks of loops."""
    script = f"""
        import asyncio, os
        from headgate import Gateway

        gateway = Gateway(data={str(tmp_path) + "/data"!r})

        async def ask(text):
            return (await gateway.complete("sim/echo", text)).text

        async def main():
            print(await ask("parent"), flush=True)
            child = os.fork()
            if child == 0:
                asyncio.events._set_running_loop(None)
                try:
                    asyncio.run(ask("child"))
                except RuntimeError as error:
                    print(error, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            print(await ask("parent again"), flush=True)
            await gateway.aclose()

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [lines[0], lines[2]] == ["parent", "parent again"]
    assert "forked from" in lines[1]
