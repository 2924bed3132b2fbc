"""For every test: a cache of its own, no network, one thread, so that figures repeat and cores are shared."""

import os
import tempfile

# Before anything of ours or of the libraries is imported, since they read these once.
os.environ["EARMARK_CACHE"] = tempfile.mkdtemp(prefix="earmark-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["NO_COLOR"] = "1"
