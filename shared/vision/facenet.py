"""facenet-pytorch, imported so that it works beside every build of torch.

It takes `batched_nms` and `to_tensor` from torchvision. Where torchvision is absent, or its
compiled part does not load (as beside a CPU-only torch), these two are ours instead, for the
moment of the import only: nobody else ever sees a torchvision that is not one.
"""

from __future__ import annotations

import sys
import threading
import warnings
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.vision import extra

_LOCK = threading.Lock()


def facenet_pytorch() -> ModuleType:
    """The package, its networks not yet made; torch keeps to one thread from here on.

    Raises InputError when the camera extra is not installed.
    """
    with _LOCK:
        torch = extra.load("torch")
        # Two threads on two busy cores are several times slower than one.
        torch.set_num_threads(1)
        if "facenet_pytorch" in sys.modules or _torchvision_loads():
            return extra.load("facenet_pytorch")
        ours = _replacement()
        sys.modules.update(ours)
        try:
            return extra.load("facenet_pytorch")
        finally:
            for name in ours:
                sys.modules.pop(name, None)


def batched_nms(boxes: Any, scores: Any, groups: Any, threshold: float) -> Any:
    """Non-maximum suppression within each group, best first.

    boxes: tensor (k, 4) of x1, y1, x2, y2. scores, groups: tensors (k,). threshold: a box is
    dropped when its intersection over union with a better one is above it. Returns the int64
    tensor of kept indices, scores descending.
    """
    torch = extra.load("torch")
    kept = suppress(
        boxes.detach().cpu().numpy(),
        scores.detach().cpu().numpy(),
        groups.detach().cpu().numpy(),
        threshold,
    )
    return torch.as_tensor(kept, dtype=torch.int64, device=boxes.device)


def suppress(
    boxes: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    groups: NDArray[np.integer[Any]],
    threshold: float,
) -> NDArray[np.int64]:
    """`batched_nms` on arrays."""
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    left = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while left.size:
        best, rest = left[0], left[1:]
        kept.append(int(best))
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        common = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[best] + areas[rest] - common
        left = rest[(common <= threshold * union) | (groups[rest] != groups[best])]
    return np.array(kept, dtype=np.int64)


def to_tensor(picture: NDArray[np.float32]) -> Any:
    """A float32 picture (h, w, c) as a tensor (c, h, w), values as they are."""
    torch = extra.load("torch")
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _torchvision_loads() -> bool:
    before = set(sys.modules)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        # What a failed import leaves behind would be taken for the package.
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "torchvision":
                del sys.modules[name]
        return False
    return True


def _replacement() -> dict[str, ModuleType]:
    names = ("torchvision", "torchvision.ops", "torchvision.ops.boxes", "torchvision.transforms")
    modules = {name: ModuleType(name) for name in (*names, "torchvision.transforms.functional")}
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    modules["torchvision.ops.boxes"].__dict__["batched_nms"] = batched_nms
    modules["torchvision.transforms.functional"].__dict__["to_tensor"] = to_tensor
    return modules
