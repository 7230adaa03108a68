"""The process that workers fork from ends with the run, even while it imports what they need: it imports this first."""

import os

from collapse_lab.engine.server import RUN, die_with_parent

die_with_parent(int(os.environ[RUN]))
#: The process that imported this before it forked, for workers to know whether it still lives.
BORN_IN = os.getpid()
