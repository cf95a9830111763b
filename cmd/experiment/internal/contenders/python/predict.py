"""Predictions with ONNX Runtime, in one session for all threads. It is loaded before
there are other processes, which share it."""

import io
import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy starts none of its own

import numpy
import onnxruntime
from blake3 import blake3
from PIL import Image

SIDE = 224


def load(model: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


session = load(os.environ["DEDUPE_MODEL"])
name = session.get_inputs()[0].name


def predict(image: bytes) -> str:
    """The class, its logit, and the digest of all logits."""
    logits = session.run(None, {name: normalize(image)})[0][0]
    top = logits.argmax()
    return f"{top} {logits[top]:.6f} {blake3(logits.tobytes()).hexdigest()}"


def normalize(image: bytes) -> numpy.ndarray:
    """All red values, then all green ones, then all blue ones, each about between -1
    and 1."""
    with Image.open(io.BytesIO(image), formats=["PNG"]) as decoded:
        if decoded.mode != "RGB" or decoded.size != (SIDE, SIDE):
            raise ValueError(f"a PNG of {decoded.size}, {decoded.mode}: make it {SIDE}x{SIDE}, 8-bit RGB")
        pixels = numpy.asarray(decoded, dtype=numpy.float32)
    planes = pixels.transpose(2, 0, 1)[numpy.newaxis]
    return numpy.ascontiguousarray((planes - 127) / 128)
