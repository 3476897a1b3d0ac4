"""Running the HTTP API: in this process, or in several that share its port, its metrics and its end."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from socket import socket

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from tallystick.api.app import create_app
from tallystick.api.protocol import BoundedProtocol
from tallystick.config import ServerSettings
from tallystick.logs import log_to_stderr

KEEP_ALIVE_S = 30
SHUTDOWN_S = 10
LOOK_FOR_PARENT_S = 1.0
LOOK_FOR_SIGNAL_S = 0.1
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

log = logging.getLogger("tallystick.api")


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
    """uvicorn's own, which restarts a process that died; but each has a listener of its own, and a signal goes first.

    With one listener for all, the process that happens to be awake accepts every connection that waits. One that was
    restarted takes from all of them, so that none is left waiting.
    """

    def init_processes(self) -> None:
        """Start a process for each listener."""
        for listener in self.sockets:
            self.processes.append(self._start([listener]))

    def keep_subprocess_alive(self) -> None:
        """Start another one where one died, or answers no more."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set() or self._is_well(process):
                continue
            process.kill()
            process.join()
            if process.exitcode == STARTUP_FAILURE:
                log.error("A process cannot start, and the others end.")
                self.should_exit.set()
            else:
                self.processes[place] = self._start(self.sockets)

    def _start(self, listeners: Sequence[socket]) -> Process:
        process = Process(self.config, list(listeners))
        with _no_interrupt():
            process.start()
        return process

    def _is_well(self, process: Process) -> bool:
        """Whether it runs and answers in time, if it must be known: nobody waits for an answer once a signal came."""
        deadline = time.monotonic() + self.config.timeout_worker_healthcheck
        try:
            process.parent_conn.send(b"ping")
            while not process.parent_conn.poll(LOOK_FOR_SIGNAL_S):
                if self.signal_queue:
                    return True
                if not process.process.is_alive() or time.monotonic() > deadline:
                    return False
            process.parent_conn.recv()
        except (OSError, EOFError):
            return False
        return True


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal: what is started in here leaves it to this one, which tells it to end.

    It does so from its first moment, because it is blocked and not handled. Here it arrives at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would unblock the signal when it is started with the first process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
