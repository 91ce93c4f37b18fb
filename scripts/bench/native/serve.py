"""Runs a framework's batch norm on request: one JSON line in, one out.

    python serve.py pytorch

A framework is a module beside this file with a VERSION and prepare(cell, arrays), which
returns a Prepared. Times are taken here, so that neither the pipe nor JSON is in them.
"""

import ctypes
import gc
import importlib
import json
import os
import pathlib
import sys
import time
import traceback

import numpy


def arrays_of(cell):
    """x, dy and a residual in the cell's shape, a mask in that with one channel, the vectors of
    one value a channel."""
    read = {name: numpy.fromfile(path, "<f4") for name, path in cell["files"].items()}
    one_channel = [1 if i == cell["axis"] else n for i, n in enumerate(cell["shape"])]
    shapes = {name: cell["shape"] for name in ("x", "dy", "residual")} | {"mask": one_channel}
    for name, shape in shapes.items():
        if name in read:
            read[name] = read[name].reshape(shape)
    return read


class Server:
    def __init__(self, framework):
        self.framework = framework
        self.prepared = {}
        self.results = {}

    def prepare(self, id, cell):
        self.prepared[id] = self.framework.prepare(cell, arrays_of(cell))
        return {}

    def run(self, id, calls):
        """The first call of a cell compiles where the framework does so."""
        step = self.prepared[id].step
        result = self.results[id] = None
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            result = None  # frees the last output first: its memory, still cached, serves again
            result = step()
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
        self.results[id] = result
        return {"ms": wall * 1e3, "cpu_ms": cpu * 1e3}

    def outputs(self, id, folder):
        values = self.prepared[id].outputs(self.results[id])
        for name, value in values.items():
            numpy.ascontiguousarray(value, "<f4").tofile(pathlib.Path(folder) / name)
        return {"names": list(values)}

    def dispose(self, id):
        self.prepared.pop(id, None)
        self.results.pop(id, None)
        gc.collect()
        release_freed_memory()
        return {}


def release_freed_memory():
    """glibc keeps it for the next calls, as its options here tell it to. After a cell of
    1 GB each child would hold several."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def main():
    # What a framework or compiler prints goes to stderr: stdout carries answers alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    framework = importlib.import_module(sys.argv[1])
    server = Server(framework)
    print(json.dumps({"version": framework.VERSION}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("do"))(**request)
        except Exception as error:  # told to the harness, which shows it; the server lives on
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
