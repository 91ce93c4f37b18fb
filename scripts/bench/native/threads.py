"""How many threads a framework is to have: `environment.mjs` tells."""

import os

COUNT = int(os.environ["OMP_NUM_THREADS"])
