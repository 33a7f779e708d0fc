"""Memory that a process frees, and takes again."""

import ctypes
import subprocess
import sys

import pytest

ONES = """
import resource
import torch
from pipeline.runtime.memory import keep_freed_memory

def ones():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

ones()
fresh = ones()
assert keep_freed_memory()
for _ in range(10):
    ones()
print(fresh, ones())
"""
GLIBC = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.skipif(not GLIBC, reason="mallopt is glibc's")
def test_what_is_freed_is_taken_again_without_new_pages():
    run = subprocess.run([sys.executable, "-c", ONES], capture_output=True, text=True, check=True)
    fresh, kept = map(int, run.stdout.split())
    assert kept < 10
    assert kept < fresh  # whose number depends on the size of the kernel's pages
