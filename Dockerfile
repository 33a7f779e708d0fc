# Training and serving, on a GPU where the container is given one (the wheels bring CUDA; the host needs the driver and
# the NVIDIA container toolkit).
#
# Build:  docker build -t ros-kd .
# Train:  docker run --rm --init --gpus all -v /your/images:/data:ro \
#             -v roskd-artifacts:/app/artifacts -v roskd-tracking:/app/tracking ros-kd \
#             bash -c 'python -m pipeline.stages preset lesion-small --data /data && python -m pipeline.stages all'
# Serve:  docker run --rm --init --gpus all --network host -v roskd-tracking:/app/tracking ros-kd \
#             python -m pipeline.stages serve --port 5000
# Without a command the container runs every stage on params.yaml as it was at build time. Stages run in order, without
# DVC: the history of the repository, which DVC needs, is not in the image.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    UV_HTTP_TIMEOUT=300 \
    GIT_PYTHON_REFRESH=quiet \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_TRACKING_URI=sqlite:////app/tracking/mlflow.db \
    DO_NOT_TRACK=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /app

# before the code, so that a change of code does not install everything again
COPY requirements.lock ./
RUN pip install --no-cache-dir uv==0.13.9 \
    && uv pip install --system --no-cache --require-hashes -r requirements.lock

# params.yaml is written by presets, the two folders are mounted as volumes: all must belong to the user
RUN useradd --create-home --uid 1000 roskd \
    && mkdir artifacts tracking \
    && chown -R roskd:roskd /app
USER roskd
COPY --chown=roskd:roskd . .

EXPOSE 5000
CMD ["python", "-m", "pipeline.stages", "all"]
