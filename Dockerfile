# samotion in a container, with nano's engines inside: no network at run time.
#
#   docker build --target cpu -t samotion:cpu .
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" samotion:cpu -o /data/out /data/clip.mp4
#   docker build --target gpu -t samotion:gpu .
#   docker run --rm --gpus all --user "$(id -u)" -v "$PWD:/data" samotion:gpu --device cuda -o /data/out /data/clip.mp4

FROM python:3.12-slim AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY runtime/samotion runtime/samotion
COPY export/samotion_export export/samotion_export
COPY benchmarks/samotion_bench benchmarks/samotion_bench
RUN pip wheel --no-cache-dir --no-deps -w /wheel .

FROM python:3.12-slim AS base
RUN useradd --create-home samotion
WORKDIR /data
COPY --from=wheel /wheel /wheel
ENTRYPOINT ["samotion-run"]
CMD ["--help"]

FROM base AS cpu
RUN pip install --no-cache-dir "$(ls /wheel/*.whl)[cpu]"
USER samotion

# CUDA and cuDNN come with onnxruntime-gpu; the host gives the driver (CUDA 13: 580 or newer).
FROM base AS gpu
RUN pip install --no-cache-dir "$(ls /wheel/*.whl)[gpu]"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER samotion
