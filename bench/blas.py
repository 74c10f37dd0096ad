"""OpenBLAS, as numpy brings it, as a candidate of engine.py for products of matrices: `blas.py SIZE`."""

import sys
import time

import numpy as np

size = int(sys.argv[1])
rng = np.random.default_rng(1)
a, b = (rng.random((size, size), np.float32) for _ in range(2))
out = np.empty_like(a)
print("ready", flush=True)
for _ in sys.stdin:
    begin = time.process_time()
    np.matmul(a, b, out=out)
    print(f"{1e3 * (time.process_time() - begin):.4f}", flush=True)
