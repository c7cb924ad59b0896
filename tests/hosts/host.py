"""Hosts of a test's own: network namespaces joined by cables where the machine allows it.

`make hosts` gives the whole test run a network namespace of its own. Then each host is another
one, joined to the run's by a veth pair, which is its cable; everything is gone with the processes.
Else a host is only a process on loopback, and its cable is its proxies.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from tests.proxy import Proxy, ProxyLoop, server_of
from workers.process import Process, Program, leash

_HOST_LIVES_SECONDS = "900"
_NUMBERS = count(1)


class Host:
    """One host. `reach` gives it a way to a server, `run` starts a process on it."""

    def __init__(
        self, name: str, address: str, prefix: tuple[str, ...] = (), cable: str | None = None
    ) -> None:
        self.name = name
        self._address = address
        self._prefix = prefix
        self._cable = cable
        self._stack = ExitStack()
        self._loop = self._stack.enter_context(ProxyLoop())
        self._proxies: list[Proxy] = []

    def reach(self, url: str) -> str:
        """The same server's URL as this host sees it."""
        proxy = Proxy(self._loop, server_of(url), host=self._address)
        self._proxies.append(proxy)
        return proxy.in_url(url)

    def reach_all(self, urls: Mapping[str, str]) -> dict[str, str]:
        """`reach` for each of these."""
        return {name: self.reach(url) for name, url in urls.items()}

    def run(
        self, name: str, argv: tuple[str, ...], environment: Mapping[str, str], logs: Path
    ) -> Process:
        """Start a process here; it ends with the host."""
        process = Process(Program(name, (*self._prefix, *argv), environment), logs)
        process.start()
        self._stack.callback(process.kill)
        return process

    def cut_off(self) -> None:
        """Pull the cable: nobody is told anything, and nothing passes."""
        if self._cable is None:
            for proxy in self._proxies:
                proxy.freeze()
        else:
            _ip("link", "set", self._cable, "down")

    def join(self) -> None:
        """Put the cable back."""
        if self._cable is None:
            for proxy in self._proxies:
                proxy.thaw()
        else:
            _ip("link", "set", self._cable, "up")

    def close(self) -> None:
        """Stop everything on it."""
        self._stack.close()


def have_namespaces() -> bool:
    """Whether `run.sh` gave this run a network namespace of its own, to lay cables in."""
    return "TEST_OWN_NETWORK" in os.environ


def kind() -> str:
    """In words, for the summary of a run."""
    return "network namespaces" if have_namespaces() else "processes on loopback"


@contextmanager
def new_host() -> Iterator[Host]:
    """A host for the length of a `with`."""
    with ExitStack() as stack:
        name = f"host{next(_NUMBERS)}"
        host = _namespace(name, stack) if have_namespaces() else Host(name, "127.0.0.1")
        stack.callback(host.close)
        yield host


def _namespace(name: str, stack: ExitStack) -> Host:
    number = name.removeprefix("host")
    holder = subprocess.Popen(
        ["unshare", "--net", "sleep", _HOST_LIVES_SECONDS], preexec_fn=leash(signal.SIGKILL)
    )
    stack.callback(holder.wait)
    stack.callback(holder.kill)
    ours = os.readlink("/proc/self/ns/net")
    give_up_at = time.monotonic() + 30
    while os.readlink(f"/proc/{holder.pid}/ns/net") == ours:
        assert time.monotonic() < give_up_at, "no network namespace was made"
        time.sleep(0.01)
    inside = ("nsenter", "-t", str(holder.pid), "-n", "--")
    cable, address = f"cable{number}", f"10.77.{number}.1"
    _ip("link", "set", "lo", "up")
    _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
    _ip("addr", "add", f"{address}/24", "dev", cable)
    _ip("link", "set", cable, "up")
    for command in (
        ("link", "set", "lo", "up"),
        ("addr", "add", f"10.77.{number}.2/24", "dev", "eth0"),
        ("link", "set", "eth0", "up"),
    ):
        _ip(*command, inside=inside)
    return Host(name, address, inside, cable)


def _ip(*arguments: str, inside: tuple[str, ...] = ()) -> None:
    done = subprocess.run([*inside, "ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
