"""For TensorRT 8.6, which takes InstanceNormalization from a plugin that needs cuDNN: the same
in plain operators.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx.inliner
import onnx.parser
from onnx import helper, numpy_helper

DOMAIN = "samotion"
PLAIN = f"""<domain: "{DOMAIN}", opset_import: ["" : 17]>
InstanceNormalization <epsilon, axes, by_channel> (x, scale, bias) => (y) {{
    mean = ReduceMean <axes: ints = @axes> (x)
    centred = Sub(x, mean)
    squares = Mul(centred, centred)
    variance = ReduceMean <axes: ints = @axes> (squares)
    least = Constant <value_float: float = @epsilon> ()
    positive = Add(variance, least)
    deviation = Sqrt(positive)
    normed = Div(centred, deviation)
    shape = Constant <value: tensor = @by_channel> ()
    scales = Reshape(scale, shape)
    biases = Reshape(bias, shape)
    scaled = Mul(normed, scales)
    y = Add(scaled, biases)
}}"""


def spelled(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with each InstanceNormalization, of float32 (N,C,...), as means, a square root and
    a quotient.
    """
    values = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*values.value_info, *values.input)}
    for node in model.graph.node:
        if node.op_type == "InstanceNormalization":
            rank = ranks[node.input[0]]
            node.domain = DOMAIN
            node.attribute.append(helper.make_attribute("axes", list(range(2, rank))))
            # 8.6 misreads a constant of plain ints
            shape = numpy_helper.from_array(np.array([-1] + [1] * (rank - 2)))
            node.attribute.append(helper.make_attribute("by_channel", shape))
            if all(a.name != "epsilon" for a in node.attribute):
                node.attribute.append(helper.make_attribute("epsilon", 1e-5))
    model.functions.append(onnx.parser.parse_function(PLAIN))
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    model = onnx.inliner.inline_local_functions(model)
    model.opset_import.remove(next(o for o in model.opset_import if o.domain == DOMAIN))
    return model
