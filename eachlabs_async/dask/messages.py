"""The messages between workers and the scheduler, on the streams that Dask keeps open between them.

There is one when a job of a worker begins or ends, when a lease changes, and when a service asks for a pause; never one
for a request.
"""

from __future__ import annotations

from typing import Final

WANT: Final = "eachlabs-want"
"""From a worker: how many requests it can use, `wanted`, of the account's `total`."""
CONFIRM: Final = "eachlabs-confirm"
"""From a worker: it keeps to the lease with this `sequence`."""
LEASE: Final = "eachlabs-lease"
"""To a worker: it may have `number` requests in flight."""
PAUSE: Final = "eachlabs-pause"
"""From a worker and to the others: nothing may be sent to `base_url` for `seconds`, because of the error `cause`."""
