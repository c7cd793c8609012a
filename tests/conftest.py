"""What all tests share: reproducible property tests, bounded by the environment.

``HOLDFAST_EXAMPLES`` sets how many cases Hypothesis tries per property, ``HOLDFAST_SCHEDULES``, ``HOLDFAST_KILLS`` and
``HOLDFAST_PAYMENTS`` how many crash schedules, real kills and payments the crash tests run (read where they are used).
The defaults keep ``make test`` short; ``.ci/run`` asks for more of all four (docs/adr/0059).
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "house",
    deadline=None,
    derandomize=True,
    max_examples=int(os.environ.get("HOLDFAST_EXAMPLES", "30")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")
