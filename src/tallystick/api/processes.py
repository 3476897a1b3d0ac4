"""Running the HTTP API: in this process, or in several that share its port, its metrics and its end."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Sequence
from functools import partial
from socket import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from tallystick.api.app import create_app
from tallystick.api.protocol import BoundedProtocol
from tallystick.config import ServerSettings
from tallystick.logs import log_to_stderr

KEEP_ALIVE_S = 30
SHUTDOWN_S = 10
LOOK_FOR_PARENT_S = 1.0
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def run_server(settings: ServerSettings, listeners: Sequence[socket]) -> None:
    """Serve until a signal comes, with one process for each listener; all of them listen on one port."""
    if len(listeners) == 1:
        uvicorn.Server(_config(settings, workers=1)).run(sockets=list(listeners))
        return
    with tempfile.TemporaryDirectory(prefix="tallystick-metrics-") as folder:
        # prometheus-client looks for it when it is imported, and the processes are started anew, with this environment
        os.environ[METRICS_VARIABLE] = folder
        config = _config(settings._replace(metrics_folder=folder), workers=len(listeners))
        _Processes(config, sockets=list(listeners)).run()


def _config(settings: ServerSettings, *, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        partial(_make_app, settings, parent=os.getpid() if workers > 1 else None),
        factory=True,
        http=BoundedProtocol,
        workers=workers,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


class _Processes(Multiprocess):
    """uvicorn's own, which restarts a process that died; but each has a listener of its own.

    With one for all, the process that happens to be awake accepts every connection that waits. One that was restarted
    takes from all of them, so that none is left waiting.
    """

    def init_processes(self) -> None:
        """Start a process for each listener."""
        for listener in self.sockets:
            process = Process(self.config, [listener])
            process.start()
            self.processes.append(process)


def _make_app(settings: ServerSettings, *, parent: int | None) -> FastAPI:
    log_to_stderr()
    if parent is not None:
        threading.Thread(target=_end_with, args=[parent], name="parent", daemon=True).start()
    return create_app(settings)


def _end_with(parent: int) -> None:
    """End when the parent has: after a kill -9 of it nobody else would, and the port would stay taken."""
    while os.getppid() == parent:
        time.sleep(LOOK_FOR_PARENT_S)
    os.kill(os.getpid(), signal.SIGTERM)
