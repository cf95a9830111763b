"""Explains why the service refuses requests that hold to its schema."""

import re

import schemathesis
from schemathesis.generation import GenerationMode

REASONS = [
    r"bad glob|the glob .* (matches nothing|has too many)",  # which globs are well-formed, no regular expression can say
    r"/protect/\d+ is .*: name a folder",  # a path that leads out of the root, and is no glob
    r"/priority/\d+ is .*: name a folder",  # the same in base64
    r"(newer|older) is .*: write a time",  # which days a month has
    r"the minimum size, \d+ bytes, is above the maximum",
    r"reclaimable (bytes|files|directories) is \d+, allowed: 0 to",  # no more than is stored
    r"metered [a-z ]+ bytes( in IA or Archive)? is \d+, allowed",  # each message counts at least 4 KiB
    r"peak factor in millionths is \d+, allowed",  # 0 means once, anything else at least 1
    r"metadata operations that open files is \d+, allowed",  # no more than all of them
    r"accessed bytes is \d+, allowed",  # no less than is read, in a class that charges for access
    r"provisioned MiBps is \d+, allowed: 0 with",
    r"storage class is archive, allowed: with elastic throughput only",
    r"lacks? (a )?prices?|no price",  # of a region
    r"next is not from an answer",  # of this report
    r"continue takes max_cost",  # and nothing else
]


@schemathesis.check
def explained(ctx, response, case):
    """A request that holds to the schema is refused only for a reason above."""
    if response.status_code != 400 or case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    detail = response.json()["detail"]
    assert any(re.search(reason, detail) for reason in REASONS), f"refused without a reason that is known: {detail}"
