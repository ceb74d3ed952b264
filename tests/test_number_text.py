import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from stages.sharing import number_text
from stages.sharing.number_text import comma_separated


def numbers(features: np.ndarray) -> list[list[str]]:
    return [row.split(",") for row in comma_separated(features)]


def test_every_float16_reads_back() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = every[np.isfinite(every)].reshape(-1, 16)
    read = np.array(numbers(values), np.float32)
    np.testing.assert_array_equal(read.astype(np.float16).view(np.uint16), values.view(np.uint16))
    np.testing.assert_array_equal(read, values.astype(np.float32))


@given(arrays.arrays(np.float32, (2, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))  # fmt: skip
def test_float32_reads_back_from_as_few_digits_as_numpy_needs(values: np.ndarray) -> None:
    texts = numbers(values)
    np.testing.assert_array_equal(
        np.array(texts, np.float32).view(np.uint32), values.view(np.uint32)
    )
    for text, value in zip(np.ravel(texts).tolist(), values.ravel(), strict=True):
        assert len(digits(text)) <= len(digits(np.format_float_scientific(value)))


def digits(text: str) -> str:
    mantissa = text.lower().partition("e")[0]
    return "".join(filter(str.isdigit, mantissa)).strip("0")


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (5, 9)])
def test_blocks_change_nothing(
    monkeypatch: pytest.MonkeyPatch, dtype: type, shape: tuple[int, int]
) -> None:
    values = np.random.default_rng(0).normal(size=shape).astype(dtype)
    whole = list(comma_separated(values))
    monkeypatch.setattr(number_text, "BLOCK_VALUES", 4)
    assert list(comma_separated(values)) == whole
    assert list(comma_separated(np.asfortranarray(values))) == whole
