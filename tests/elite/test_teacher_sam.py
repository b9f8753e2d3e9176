"""Segment Anything: its import without torchvision, its sizes, its checkpoints."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from elite.errors import EliteError
from elite.teacher import CheckpointReport, build_sam, import_segment_anything, load_sam
from elite.teacher.checkpoint import read_state
from elite.teacher.sam import randomize_tables

PARAMETERS = {"vit_b": 93_735_472, "vit_l": 312_342_832, "vit_h": 641_090_608}


def shapes(module: torch.nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def light_state(size: str) -> dict[str, torch.Tensor]:
    """A state dict of the official names and shapes whose tensors hold one number each."""
    with torch.device("meta"):
        sam = build_sam(size)
    return {name: torch.zeros(()).expand(shape) for name, shape in shapes(sam).items()}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    sam = build_sam("test")
    randomize_tables(sam)
    return sam.state_dict()


# ---- the package ---------------------------------------------------------------------------------


def in_new_process(script: str) -> str:
    command = [sys.executable, "-c", script]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout


def test_import_leaves_no_stand_in_behind() -> None:
    """A torchvision that can't be imported is stood in for, and stays as it was."""
    script = """
import sys, importlib.abc
class Broken(importlib.abc.MetaPathFinder):  # a wheel for another torch
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
sys.meta_path.insert(0, Broken())
from elite.teacher import import_segment_anything
package = import_segment_anything()
assert import_segment_anything() is package
assert not [n for n in sys.modules if n.startswith("torchvision")]
try:
    package.automatic_mask_generator.batched_nms()
except ImportError as error:
    print(error)
"""
    wanted = "torchvision.ops.boxes.batched_nms: this part of segment_anything needs torchvision"
    assert in_new_process(script).strip() == wanted


def test_import_of_the_teacher_is_light() -> None:
    """The command line starts without the packages that only training needs."""
    script = "import sys, elite.teacher; print({'peft', 'segment_anything'} & set(sys.modules))"
    assert in_new_process(script).strip() == "set()"


# ---- sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h"])
def test_published_sizes_are_those_of_the_package(size: str) -> None:
    with torch.device("meta"):
        ours = build_sam(size)
        theirs = import_segment_anything().sam_model_registry[size]()
    assert repr(ours) == repr(theirs)
    assert shapes(ours) == shapes(theirs)
    assert sum(p.numel() for p in ours.parameters()) == PARAMETERS[size]


def test_random_tables_are_not_zero() -> None:
    sam = build_sam("test")
    randomize_tables(sam, torch.Generator().manual_seed(0))
    tables = [p for n, p in sam.named_parameters() if "pos_embed" in n or "rel_pos" in n]
    assert len(tables) == 1 + 2 * 8
    assert all(0.015 < table.std() < 0.025 for table in tables)


# ---- checkpoints ---------------------------------------------------------------------------------


def test_official_file_is_loaded_whole(state, tmp_path) -> None:
    torch.save(state, tmp_path / "sam.pth")
    sam = load_sam("test", tmp_path / "sam.pth")
    loaded = sam.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    fresh = build_sam("test")
    assert torch.equal(sam.pixel_mean, fresh.pixel_mean)
    assert torch.equal(sam.pixel_std, fresh.pixel_std)
    assert not sam.training


@pytest.mark.parametrize("size", ["vit_b", "vit_l", "vit_h"])
def test_official_names_and_shapes_of_each_size(size: str, tmp_path) -> None:
    torch.save(light_state(size), tmp_path / "sam.pth")
    sam = load_sam(size, tmp_path / "sam.pth")
    assert sum(p.numel() for p in sam.parameters()) == PARAMETERS[size]


def test_half_precision_file_is_computed_with_in_full(state, tmp_path) -> None:
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "sam.pth")
    assert {p.dtype for p in load_sam("test", tmp_path / "sam.pth").parameters()} == {torch.float32}


def test_names_the_keys_that_do_not_fit(state, tmp_path) -> None:
    broken = dict(state) | {"image_encoder.extra": torch.zeros(1)}
    del broken["mask_decoder.iou_token.weight"]
    broken["image_encoder.blocks.1.attn.rel_pos_h"] = torch.zeros(39, 16)
    torch.save(broken, tmp_path / "sam.pth")
    with pytest.raises(EliteError, match=r"sam.pth does not fit test") as error:
        load_sam("test", tmp_path / "sam.pth")
    message = str(error.value)
    assert "missing: mask_decoder.iou_token.weight" in message
    assert "unexpected: image_encoder.extra" in message
    key = "image_encoder.blocks.1.attn.rel_pos_h"
    assert f"wrong shape: {key} is [39, 16], expected [127, 16]" in message


def test_renamed_attention_weights_are_refused(state, tmp_path) -> None:
    """The authors rename `qkv` while loading non-strictly, and so train without these weights."""
    renamed = {name.replace("attn.qkv.", "attn.q."): value for name, value in state.items()}
    torch.save(renamed, tmp_path / "sam.pth")
    with pytest.raises(EliteError, match=r"missing: image_encoder.blocks.0.attn.qkv.weight"):
        load_sam("test", tmp_path / "sam.pth")


def test_another_size_is_refused_in_few_lines(state, tmp_path) -> None:
    torch.save(light_state("vit_b"), tmp_path / "sam.pth")
    with pytest.raises(EliteError, match=r"and \d+ more") as error:
        load_sam("test", tmp_path / "sam.pth")
    assert len(str(error.value).splitlines()) < 15


def test_other_files_are_refused(tmp_path) -> None:
    with pytest.raises(EliteError, match="no such file"):
        read_state(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(EliteError, match=r"text.pth: not a checkpoint"):
        read_state(tmp_path / "text.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(EliteError, match="holds named tensors, got list"):
        read_state(tmp_path / "list.pth")
    torch.save({"model": {"weight": torch.zeros(1)}}, tmp_path / "nested.pth")
    with pytest.raises(EliteError, match="`model` is not a tensor"):
        read_state(tmp_path / "nested.pth")


def test_code_in_a_file_is_not_executed(tmp_path) -> None:
    torch.save({"weight": Path("anything")}, tmp_path / "code.pth")  # an object, not a tensor
    with pytest.raises(EliteError, match=r"code.pth: not a checkpoint"):
        read_state(tmp_path / "code.pth")


def test_report_counts_what_is_used(state) -> None:
    report = CheckpointReport.of(state, unused=("image_encoder.neck", "prompt_", "mask_"))
    neck = sum(v.numel() for k, v in state.items() if k.startswith("image_encoder.neck"))
    assert report.unused["image_encoder"] == neck
    assert set(report.loaded) == {"image_encoder"}
    total = sum(report.loaded.values()) + sum(report.unused.values())
    assert total == sum(v.numel() for v in state.values())
    assert "unused image_encoder" in str(report)
