#!/usr/bin/env python3
"""A Lambda bootstrap that does tasks in processes or in threads: the contender
in Python of `experiment run`."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import selectors
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any
from urllib.parse import urlsplit

try:
    from blake3 import blake3 as new_digest

    DIGEST = "blake3"
except ImportError:
    from hashlib import sha256 as new_digest  # type: ignore[assignment]

    DIGEST = "sha256"

if "DEDUPE_MODEL" in os.environ:
    from predict import predict
else:

    def predict(image: bytes) -> str:
        raise RuntimeError("no model: DEDUPE_MODEL is not set")


RUNTIME = "/2018-06-01/runtime"
PRIME = 2**61 - 1
CHUNK = 128 << 10  # bytes a read

Task = Callable[[int], str]  # from the task's number to its checksum


class WorkerDied(Exception):
    """A worker process ended before its task did."""


def list_files(root: str) -> list[str]:
    """The paths of the regular files in root, sorted by the bytes of their names."""
    with os.scandir(root) as entries:
        paths = [e.path for e in entries if e.is_file(follow_symlinks=False)]
    return sorted(paths, key=os.fsencode)


def scan(path: str) -> str:
    digest = new_digest()
    try:
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:  # of a read, it has no path
        raise OSError(error.errno, error.strerror, path) from error
    return digest.hexdigest()


def fib(a: int, steps: int) -> str:
    b = 1
    for _ in range(steps):
        a, b = b, (a + b) % PRIME
    return str(a)


def get(url: str) -> bytes:
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.netloc)
    try:
        connection.request("GET", target.path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise RuntimeError(f"{url}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"{url}: status {response.status}, want 200")
    return body


def fetch(url: str) -> str:
    return new_digest(get(url)).hexdigest()


def tell(source: str) -> str:
    """What the image in a file or at a URL shows."""
    if source.startswith("http://"):
        return predict(get(source))
    with open(source, "rb", buffering=0) as file:
        return predict(file.read())


def in_threads(task: Task, tasks: int, workers: int) -> list[str]:
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(task, range(tasks)))


def in_processes(task: Task, tasks: int, workers: int) -> list[str]:
    """Processes and pipes, because Lambda has no /dev/shm, which the semaphores
    in multiprocessing's Pool, Queue and Lock need."""
    fork = multiprocessing.get_context("fork")
    checksums = [""] * tasks
    todo = iter(range(tasks))
    started: list[tuple[ForkProcess, Connection]] = []
    with selectors.DefaultSelector() as answers:
        try:
            for i in islice(todo, workers):
                ours, theirs = fork.Pipe()
                process = fork.Process(target=work, args=(task, i, theirs, ours))
                process.start()
                started.append((process, ours))
                theirs.close()  # the worker alone has it, so its death is seen
                answers.register(ours, selectors.EVENT_READ, (ours, process))
            for _ in range(tasks):
                key, _ = answers.select()[0]
                worker, process = key.data
                i, checksum = exchange(worker, process, next(todo, None))
                checksums[i] = checksum
        finally:
            for process, ours in started:
                process.kill()  # it is idle, or its task is of no more use
                process.join()
                ours.close()
    return checksums


def work(task: Task, i: int, theirs: Connection, ours: Connection) -> None:
    """A worker process: task i and those that it is dealt, until the pipe ends."""
    ours.close()  # or it would not end
    try:
        while True:
            answer: str | Exception
            try:
                answer = task(i)
            except Exception as error:
                answer = error
            theirs.send((i, answer))
            i = theirs.recv()
    except (EOFError, ConnectionError):
        pass


def exchange(worker: Connection, process: ForkProcess, todo: int | None) -> tuple[int, str]:
    """Takes a worker's answer, and deals it the next task, if there is one."""
    try:
        i, answer = worker.recv()
        if todo is not None:
            worker.send(todo)
    except (EOFError, ConnectionError):
        process.join()
        raise WorkerDied(f"a worker process died, exit code {process.exitcode}") from None
    if isinstance(answer, Exception):
        raise answer
    return i, answer


def plan(event: dict[str, Any]) -> tuple[str, Task]:
    """What an event's tasks are, and the digest that they make."""
    workload, tasks = event.get("workload"), event.get("tasks", 0)
    if workload == "scan":
        root = event.get("root", "")
        files = list_files(root)
        if len(files) < tasks:
            raise ValueError(f"{root!r} has {len(files)} files, too few for {tasks} tasks")
        return DIGEST, lambda i: scan(files[i])
    if workload == "fib":
        steps = event.get("steps", 0)
        return "", lambda i: fib(i, steps)
    if workload == "fetch":
        url = event.get("url", "")
        return DIGEST, lambda i: fetch(f"{url}/{i}")
    if workload == "predict":
        root = event.get("root", "").rstrip("/")
        return DIGEST, lambda i: tell(f"{root}/{i:03}.png")
    raise ValueError(f"unknown workload {workload!r}: choose scan, fib, fetch or predict")


def handle(event: dict[str, Any]) -> dict[str, Any]:
    modes = {"threads": in_threads, "processes": in_processes}
    mode, tasks, workers = event.get("mode"), event.get("tasks", 0), event.get("workers", 0)
    if mode not in modes:
        raise ValueError(f"unknown mode {mode!r}: choose threads or processes")
    if tasks < 1 or workers < 1:
        raise ValueError(f"{tasks} tasks, {workers} workers: choose at least one of each")
    digest, task = plan(event)
    return {"digest": digest, "checksums": modes[mode](task, tasks, workers)}


def main() -> None:
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", f"{RUNTIME}/invocation/next")
        response = api.getresponse()
        event = response.read()
        call = f"{RUNTIME}/invocation/{response.headers['Lambda-Runtime-Aws-Request-Id']}"
        try:
            path, answer = "response", handle(json.loads(event))
        except Exception as error:
            traceback.print_exc()
            path, answer = "error", {"errorType": type(error).__name__, "errorMessage": str(error)}
        api.request("POST", f"{call}/{path}", json.dumps(answer))
        api.getresponse().read()


if __name__ == "__main__":
    main()
