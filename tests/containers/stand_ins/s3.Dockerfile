# A stand-in for VersityGW's image: moto's S3 server, started and asked for its health as that is.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm
FROM ${PYTHON_IMAGE}
COPY requirements.lock /tmp/
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends wget >/dev/null \
 && sed -nE 's/^([A-Za-z0-9._-]+==[^\\]*).*/\1/p' /tmp/requirements.lock >/tmp/versions \
 && python3 -m venv /opt/s3 \
 && /opt/s3/bin/pip install --quiet --no-cache-dir --constraint /tmp/versions 'moto[s3,server]'
COPY --chmod=755 tests/containers/stand_ins/s3_server.py /usr/local/bin/versitygw
ENV PYTHONDONTWRITEBYTECODE=1
