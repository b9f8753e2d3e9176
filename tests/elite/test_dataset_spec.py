"""SemanticKITTI's tables, written out once more, and what is derived from them."""

import numpy as np
import pytest

from elite.config import CONFIGS, ConfigError
from elite.data import DatasetSpec, class_weights
from elite.errors import EliteError

RAW_TO_LEARNING = {
    0: (0, 1, 52, 99), 1: (10, 252), 2: (11,), 3: (15,), 4: (18, 258),
    5: (13, 16, 20, 256, 257, 259), 6: (30, 254), 7: (31, 253), 8: (32, 255), 9: (40, 60),
    10: (44,), 11: (48,), 12: (49,), 13: (50,), 14: (51,),
    15: (70,), 16: (71,), 17: (72,), 18: (80,), 19: (81,),
}  # fmt: skip
LEARNING_TO_RAW = [0, 10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81]
NAMES = """
    unlabeled car bicycle motorcycle truck other-vehicle person bicyclist motorcyclist road parking
    sidewalk other-ground building fence vegetation trunk terrain pole traffic-sign
""".split()  # noqa: SIM905
COUNTS = [
    0, 55437630, 320797, 541736, 2578735, 3274484, 552662, 184064, 78858, 240942562, 17294618,
    170599734, 6369672, 230413074, 101130274, 476491114, 9833174, 129609852, 4506626, 1168181,
]  # fmt: skip


def test_classes_and_counts(spec: DatasetSpec) -> None:
    assert spec.names == NAMES
    assert spec.counts.tolist() == COUNTS
    assert spec.colours.shape == (20, 3)
    assert len({tuple(c) for c in spec.colours.tolist()}) == 20


def test_every_raw_id_is_mapped_as_in_the_table_or_refused(spec: DatasetSpec) -> None:
    expected = {raw: learning for learning, ids in RAW_TO_LEARNING.items() for raw in ids}
    for raw in range(300):
        ids = np.array([raw], dtype=np.uint32)
        if raw in expected:
            assert spec.to_learning(ids).tolist() == [expected[raw]]
        else:
            with pytest.raises(EliteError, match=f"000000.label: raw id {raw} belongs to no class"):
                spec.to_learning(ids, "000000.label")


def test_predictions_hold_the_first_raw_id(spec: DatasetSpec) -> None:
    raw = spec.to_raw(np.arange(20))
    assert raw.dtype == np.uint32
    assert raw.tolist() == LEARNING_TO_RAW


def test_splits(spec: DatasetSpec) -> None:
    assert spec.sequences("train") == ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10")
    assert spec.sequences("val") == ("08",)
    assert spec.sequences("test") == tuple(str(i) for i in range(11, 22))
    assert spec.sequences("00, 90") == ("00", "90")
    assert spec.sequences("08-11,30") == ("08", "09", "10", "11", "30")
    with pytest.raises(EliteError, match="no split 'validation'"):
        spec.sequences("validation")


def test_class_weights_are_cube_roots_of_the_ratio() -> None:
    weights = class_weights(np.array([999, 8, 1, 0]))
    np.testing.assert_allclose(weights, [0, 1, 2, 0])
    assert np.isfinite(class_weights(np.zeros(3, dtype=np.int64))).all()


def test_class_weights_of_semantic_kitti(spec: DatasetSpec) -> None:
    weights = class_weights(spec.counts)
    assert weights[0] == 0
    assert weights[15] == 1  # vegetation, the most frequent class
    assert weights[8] == pytest.approx((476491114 / 78858) ** (1 / 3), rel=1e-6)


def test_a_raw_id_of_two_classes_is_refused(tmp_path) -> None:
    path = tmp_path / "twice.yaml"
    text = (CONFIGS / "semantic_kitti.yaml").read_text().replace("raw_ids: [11]", "raw_ids: [10]")
    path.write_text(text)
    with pytest.raises(EliteError, match="raw id 10 belongs to two classes"):
        DatasetSpec.load(path).to_learning(np.array([10]))


def test_an_ill_typed_class_is_refused(tmp_path) -> None:
    path = tmp_path / "typed.yaml"
    path.write_text(
        "name: x\nclasses:\n  - {name: a, raw_ids: [0], count: many, colour: [0, 0, 0]}"
    )
    with pytest.raises(ConfigError, match=r"`classes\[0\].count` must be int, got 'many'"):
        DatasetSpec.load(path)
