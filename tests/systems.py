"""What a test needs of the operating system."""

import sys

import pytest

ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it takes what only Linux has")
MAXRSS_UNIT = 1024 if sys.platform == "linux" else 1  # bytes that getrusage counts the peak memory in
