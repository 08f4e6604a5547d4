"""One thread for every test: two threads on small tensors spend their time waiting.

Examples are few and have no deadline: on a machine that does other work a slow one says nothing.
"""

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile(
    "bitdial", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("bitdial")
