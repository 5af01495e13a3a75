"""For TensorRT 8.6, which decides types itself: hold every layer to the type its ONNX tensors have.

Polygraphy loads this file by path in the building process, beside that process's own TensorRT and
Python (3.9 on): it imports nothing of this package. The environment variable names a JSON file with
the float16 and float32 tensors.
"""

from __future__ import annotations

import json
import os
from typing import Any

VARIABLE = "SAMOTION_TENSOR_TYPES"


def keep_types(network: Any) -> None:
    """Set precision and output types of all layers of a parsed network whose outputs bear a name
    of the graph.
    """
    import tensorrt as trt

    with open(os.environ[VARIABLE]) as file:
        types = json.load(file)
    kinds = {name: trt.float16 for name in types["float16"]}
    kinds.update({name: trt.float32 for name in types["float32"]})
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        outputs = [(i, layer.get_output(i)) for i in range(layer.num_outputs)]
        known = [(i, kinds[o.name]) for i, o in outputs if o.name in kinds]
        for i, kind in known:
            layer.set_output_type(i, kind)
        if known and layer.type not in (
            trt.LayerType.CAST,
            trt.LayerType.CONSTANT,
            trt.LayerType.SHAPE,
        ):
            layer.precision = known[0][1]
