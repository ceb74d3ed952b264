"""Keys: what docs/store-format.md says they are, whatever way is the quickest."""

import hashlib
import json
import math

from hypothesis import given
from hypothesis import strategies as st

from features_cache.keys import content_key

seconds = st.floats(min_value=0.0, allow_nan=False, allow_infinity=False)


@given(
    digest=st.one_of(st.text(max_size=70), st.text("0123456789abcdef", min_size=64, max_size=64)),
    start=st.one_of(seconds, st.just(-0.0), st.integers(0, 9)),
    end=st.one_of(seconds, st.just(math.nan), st.integers(0, 9)),
    view=st.one_of(st.just("clean"), st.text(max_size=30)),
)
def test_a_key_is_the_digest_of_its_json(digest: str, start: float, end: float, view: str) -> None:
    parts = [digest, float(start) + 0.0, None if math.isnan(end) else float(end), view]
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    assert content_key(digest, start, end, view) == hashlib.sha256(text.encode()).hexdigest()
