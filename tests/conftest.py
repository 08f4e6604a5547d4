"""One thread for every test: two threads on small tensors spend their time waiting."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
