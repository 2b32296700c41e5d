"""The address and the ports at which the processes of a cluster listen."""

from __future__ import annotations

import socket
import warnings
from dataclasses import dataclass

import psutil

from teralign.errors import InputError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Network:
    """The place where the processes of a cluster listen on their machine.

    `interface` is the name of a network interface, such as ib0; without it, the address is the one by which other
    machines most likely reach this one. `local` is for a cluster on one machine: its address is out of reach of
    others. `ports` are the first and the last port that may be used; without them, any free port is.
    """

    interface: str | None = None
    ports: tuple[int, int] | None = None
    local: bool = False

    def address(self) -> str:
        """Return the IPv4 address to listen at. Raises InputError when the interface has none."""
        if self.local:
            return LOOPBACK
        return _outward_address() if self.interface is None else _address_of(self.interface)

    def port(self) -> int | str:
        """Return the ports as Dask takes them; 0 is any."""
        return 0 if self.ports is None else "{}:{}".format(*self.ports)

    def each_port(self) -> range:
        """Return the ports to try, one after the other; 0 is any."""
        return range(1) if self.ports is None else range(self.ports[0], self.ports[1] + 1)


ANYWHERE = Network()
"""Any free port, at the address by which other machines most likely reach this one."""


def _outward_address() -> str:
    """Return the address by which other machines most likely reach this machine; the loopback if it has no other."""
    from distributed.utils import get_ip

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(get_ip())
        except OSError:
            return LOOPBACK


def _address_of(interface: str) -> str:
    address = _addresses().get(interface)
    if address is None:
        raise InputError(
            f"{socket.gethostname()} has no network interface {interface!r} with an IPv4 address: give one of "
            f"{described_interfaces()}."
        )
    return address


def described_interfaces() -> str:
    """Return the network interfaces of this machine with their IPv4 addresses, as text."""
    return ", ".join(f"{name} ({address})" for name, address in _addresses().items())


def _addresses() -> dict[str, str]:
    """Return the first IPv4 address of each network interface that has one."""
    found: dict[str, str] = {}
    for name, addresses in psutil.net_if_addrs().items():
        for each in addresses:
            if each.family == socket.AF_INET:
                found.setdefault(name, each.address)
    return found
