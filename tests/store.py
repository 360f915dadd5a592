"""A real object store on this machine: moto's S3 server in a process of its own."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from expander.data.store import remote

BUCKET = "bucket"
KEYS = {"AWS_ACCESS_KEY_ID": "test-key-id", "AWS_SECRET_ACCESS_KEY": "hush-hush-secret",
        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}  # fmt: skip


def free_port() -> int:
    """One that stays free between two listeners: by themselves systems give callers higher ones."""
    for _ in range(100):
        port = 20_000 + secrets.randbelow(12_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port is free")


class Server:
    """The store, on a free port. Its objects are gone when it ends."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.log = log.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.address = f"http://127.0.0.1:{self.port}"
        self.variables = {**KEYS, "AWS_ENDPOINT_URL": self.address}
        deadline = time.monotonic() + 60
        while True:
            with socket.socket() as caller:
                if caller.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < deadline, "the store did not start"
            assert self.process.poll() is None, f"the store ended, see {log}"
            time.sleep(0.1)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


class Door:
    """Stands before a store. While it is shut callers are refused, as if the store were switched off."""

    def __init__(self, server: Server) -> None:
        self.behind, self.port = server.port, free_port()
        self.slow = 0.0  # seconds that every answer takes
        self.ends: list[socket.socket] = []
        self.open()
        self.variables = {**server.variables, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def open(self) -> None:
        """Where it was before."""
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._admit, args=(self.listener,), daemon=True).start()

    def shut(self) -> None:
        """Calls that are under way break off."""
        for end in (self.listener, *self.ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.ends = []

    close = shut

    def _admit(self, listener: socket.socket) -> None:
        with suppress(OSError):  # it was shut
            while True:
                caller, _ = listener.accept()
                store = socket.create_connection(("127.0.0.1", self.behind))
                self.ends += [caller, store]
                for one, other, slow in ((caller, store, 0.0), (store, caller, self.slow)):
                    threading.Thread(target=_pass_on, args=(one, other, slow), daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket, slow: float) -> None:
    with one:
        with suppress(OSError):
            while content := one.recv(1 << 16):
                time.sleep(slow)
                other.sendall(content)
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)


def client(server: Server) -> Any:
    """pyarrow's own, as a user would fill the store."""
    from pyarrow import fs

    return fs.S3FileSystem(
        access_key=KEYS["AWS_ACCESS_KEY_ID"], secret_key=KEYS["AWS_SECRET_ACCESS_KEY"], region="us-east-1",
        endpoint_override=server.address.partition("://")[2], scheme="http", allow_bucket_creation=True,
    )  # fmt: skip


def upload(server: Server, folder: Path, prefix: str) -> str:
    """All files of a folder; the address of where they are then."""
    store = client(server)
    store.create_dir(BUCKET)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != ".lock":
            with store.open_output_stream(f"{BUCKET}/{prefix}/{file.relative_to(folder)}") as out:
                out.write(file.read_bytes())
    return f"s3://{BUCKET}/{prefix}"


@contextmanager
def serving(log: Path) -> Iterator[Server]:
    server = Server(log)
    before = {name: os.environ.get(name) for name in server.variables}
    os.environ.update(server.variables)
    try:
        yield server
    finally:
        server.end()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def bucket(log: Path) -> Iterator[Server]:
    """A store with an empty bucket, which this process writes to as well."""
    with serving(log) as server:
        remote._connected.cache_clear()
        client(server).create_dir(BUCKET)
        yield server
    remote._connected.cache_clear()
