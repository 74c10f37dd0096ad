"""onnxruntime as a candidate of engine.py: loads a model and its inputs, says `ready`, answers every line `run` with the milliseconds of processor
time that one run took."""

import pathlib
import sys
import time

import numpy as np
import onnxruntime

model, inputs = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
given = {i.name: np.load(pathlib.Path(inputs) / f"{i.name}.npy") for i in session.get_inputs()}
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "run":
        begin = time.process_time()
        session.run(None, given)
        print(f"{1e3 * (time.process_time() - begin):.4f}", flush=True)
    else:
        np.save(line.split()[1], session.run(None, given)[0])
        print("saved", flush=True)
