"""Sends one measured task for each line on standard input: a series' name."""

import importlib
import sys
import time

stamp = importlib.import_module(sys.argv[1]).stamp
for line in sys.stdin:
    stamp.delay(time.time(), line.strip())
