"""Another user of this machine who tries to get into clusters: python stranger.py ASKED, and prints what succeeded.

It starts as root, loads what an attack needs, and becomes the user `nobody` for good. ASKED is JSON:
`addresses` (host:port) to connect to, `files` to read, `scheduler` (the address of one that is open to all).
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import sys
import tempfile
from pathlib import Path

from distributed import Client, Security
from distributed.core import rpc

from teralign.cluster.credentials import new_credentials, security_by
from teralign.cluster.rendezvous import check_owner
from teralign.errors import InputError


def main() -> None:
    asked = json.loads(sys.argv[1])
    asyncio.run(connects(asked["scheduler"], Security()))  # loads all that a connection needs
    become("nobody")
    os.environ["HOME"] = tempfile.gettempdir()
    own = security_by(new_credentials())
    print(
        json.dumps(
            {
                "user": os.getuid(),
                "runs_code": runs_code(asked["scheduler"]),
                "open": [
                    address
                    for address in asked["addresses"]
                    for scheme, security in [("tcp", Security()), ("tls", own)]
                    if asyncio.run(connects(f"{scheme}://{address}", security))
                ],
                "read": [path for path in asked["files"] if reads(Path(path))],
                "uses": [path for path in asked["folders"] if uses(Path(path))],
            }
        )
    )


def become(name: str) -> None:
    user = pwd.getpwnam(name)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)


async def connects(address: str, security: Security) -> bool:
    """Return whether a Dask server at the address answers anything."""
    try:
        async with rpc(address, timeout=5, connection_args=security.get_connection_args("client")) as peer:
            await asyncio.wait_for(peer.identity(), 5)
    except (OSError, TimeoutError, ValueError):  # the last: the server was gone before the handshake
        return False
    return True


def runs_code(address: str) -> bool:
    """Return whether this user can run code in the scheduler's process."""
    with Client(address, timeout=20, set_as_default=False) as client:
        return client.run_on_scheduler(os.getpid) != os.getpid()


def reads(path: Path) -> bool:
    try:
        path.read_bytes()
    except PermissionError:
        return False
    return True


def uses(folder: Path) -> bool:
    """Return whether a scheduler or worker of this user would meet others in the folder."""
    try:
        check_owner(folder)
    except InputError:
        return False
    return True


if __name__ == "__main__":
    main()
