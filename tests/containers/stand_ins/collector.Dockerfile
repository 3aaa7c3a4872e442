# A stand-in for the OpenTelemetry collector's image: it counts what comes to it.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm
FROM ${PYTHON_IMAGE}
COPY requirements.lock /tmp/
RUN sed -nE 's/^([A-Za-z0-9._-]+==[^\\]*).*/\1/p' /tmp/requirements.lock >/tmp/versions \
 && python3 -m venv /opt/collector \
 && /opt/collector/bin/pip install --quiet --no-cache-dir --constraint /tmp/versions \
      aiohttp opentelemetry-proto pyyaml
COPY tests/__init__.py /opt/collector/tests/
COPY tests/e2e/__init__.py tests/e2e/collector.py /opt/collector/tests/e2e/
COPY tests/containers/__init__.py /opt/collector/tests/containers/
COPY tests/containers/stand_ins/collector.py /opt/collector/tests/containers/stand_ins/
ENV PATH=/opt/collector/bin:$PATH PYTHONPATH=/opt/collector PYTHONDONTWRITEBYTECODE=1
USER 10001
ENTRYPOINT ["python", "-m", "tests.containers.stand_ins.collector"]
