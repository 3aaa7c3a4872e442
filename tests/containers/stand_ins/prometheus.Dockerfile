# A stand-in for Prometheus' own image: Debian's, which is older, with the image's places and user.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm
FROM ${PYTHON_IMAGE}
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends prometheus >/dev/null \
 && install -d -o nobody -g nogroup /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
