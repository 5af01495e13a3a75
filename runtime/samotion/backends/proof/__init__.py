"""Do a folder's TensorRT engines answer on this GPU as their graphs do on a CPU?"""
