"""PyTorch's norms through torch.compile: Inductor makes C++ of it at the first call."""

import os
import shutil
import sys

# One process compiles, and its files stay with the environment.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(sys.prefix, "inductor"))

if not shutil.which(os.environ.get("CXX", "g++")):
    sys.exit("torch.compile needs a C++ compiler: install g++")

import torch  # noqa: E402
from torch._inductor.cpu_vec_isa import pick_vec_isa  # noqa: E402

import pytorch  # noqa: E402

VERSION = f"{torch.__version__} {str(pick_vec_isa()).upper()}"


def prepare(cell, arrays):
    # A cell's shapes are constants of its program; those of the cells before are forgotten.
    torch._dynamo.reset()
    return pytorch.prepare(
        cell, arrays, lambda function: torch.compile(function, fullgraph=True, dynamic=False)
    )
