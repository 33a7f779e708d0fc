"""Every random stream of the pipeline has a name; its draws depend on that name, the seed and a counter alone.

Counter-based streams need no state: a resumed run draws what the unbroken run would have drawn.
"""

import hashlib

import numpy as np


def derive(seed: int, name: str) -> int:
    """Return a 63-bit seed for the stream `name`; different names give unrelated streams."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big") >> 1


def stream(seed: int, name: str, counter: int) -> np.random.Generator:
    """Return the generator of the stream `name` at `counter` (an epoch, say)."""
    return np.random.Generator(np.random.Philox(key=np.array([derive(seed, name), counter], dtype=np.uint64)))
