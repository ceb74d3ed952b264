import numpy as np
import pytest

from models.principal_components import principal_components


def make_segments(n: int, n_features: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    scales = 2.0 ** -np.arange(n_features)
    turn = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    return ((rng.normal(size=(n, n_features)) * scales) @ turn + 5).astype(np.float32)


def test_they_are_the_directions_of_largest_variance() -> None:
    segments = make_segments(400, 60)
    centre, components, variance = principal_components(segments, 6, np.random.default_rng(0))
    exact = np.linalg.svd(segments - segments.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(centre, segments.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(variance, exact[1][:6] ** 2 / 399, rtol=1e-4)
    for found, wanted in zip(components.T, exact[2][:6], strict=True):
        assert abs(found @ wanted) == pytest.approx(1, abs=1e-3)


def test_they_are_orthonormal_float32_and_repeat() -> None:
    segments = make_segments(90, 40)
    first, second = (principal_components(segments, 8, np.random.default_rng(1)) for _ in "ab")
    np.testing.assert_allclose(first[1].T @ first[1], np.eye(8), atol=1e-5)
    assert first[1].dtype == np.float32
    assert np.array_equal(first[1], second[1])


def test_their_sense_does_not_depend_on_where_the_search_starts() -> None:
    segments = make_segments(200, 12)
    one, other = (
        principal_components(segments, 3, np.random.default_rng(seed))[1] for seed in (0, 1)
    )
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_direction_without_variance_is_zero() -> None:
    segments = np.zeros((30, 9), np.float32)
    segments[:, :2] = np.random.default_rng(0).normal(size=(30, 2))
    _, components, variance = principal_components(segments, 4, np.random.default_rng(0))
    assert (variance[:2] > 0.1).all()
    np.testing.assert_allclose(variance[2:], 0, atol=1e-9)
    np.testing.assert_allclose(components[:, 2:], 0, atol=1e-6)


def test_segments_all_alike_have_no_directions() -> None:
    _, components, variance = principal_components(
        np.full((5, 4), 7, np.float32), 2, np.random.default_rng(0)
    )
    assert not components.any()
    assert not variance.any()
