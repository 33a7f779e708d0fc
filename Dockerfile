# Two images on one base, both on a GPU where the container is given one (the host needs NVIDIA's driver and container
# toolkit). docs/serving.md and docs/clusters.md show how they are run; compose.yaml has them with a tracking server.
#
#   docker build --target train -t ros-kd .           all stages on params.yaml as it was at build time, without DVC,
#                                                     which needs the history of the repository
#   docker build --target serve -t ros-kd-serve .     the registered champion over HTTP, without torch
FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 AS base

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    VIRTUAL_ENV=/opt/venv \
    PATH=/opt/venv/bin:$PATH \
    UV_HTTP_TIMEOUT=300 \
    GIT_PYTHON_REFRESH=quiet \
    MLFLOW_DISABLE_TELEMETRY=true \
    MLFLOW_TRACKING_URI=sqlite:////app/tracking/mlflow.db \
    DO_NOT_TRACK=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /app

# artifacts and tracking are mounted as volumes: they must belong to the user, and so must params.yaml for presets
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv \
    && pip install --no-cache-dir uv==0.13.9 \
    && useradd --create-home --uid 10001 roskd \
    && mkdir artifacts tracking \
    && chown -R roskd:roskd /app


FROM base AS train

# before the code, so that a change of code does not install everything again
COPY requirements.lock ./
RUN uv pip install --no-cache --require-hashes -r requirements.lock

USER 10001
COPY --chown=roskd:roskd . .
CMD ["python", "-m", "pipeline.stages", "all"]


FROM base AS serve

COPY requirements-serve.lock ./
RUN uv pip install --no-cache --require-hashes -r requirements-serve.lock

USER 10001
COPY --chown=roskd:roskd models models
COPY --chown=roskd:roskd pipeline pipeline
COPY --chown=roskd:roskd params.yaml ./

EXPOSE 5000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:5000/health', timeout=4)"]
CMD ["python", "-m", "pipeline.stages", "serve", "--host", "0.0.0.0", "--port", "5000"]
