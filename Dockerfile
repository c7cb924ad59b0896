# One image for every process of the fleet; docker-compose.yml says which one a container runs.
FROM python:3.12.12-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /opt/contractcourt

# The dependencies change seldom, the code often: they are a layer of their own.
COPY deploy/fleet.lock deploy/fleet.lock
RUN pip install --require-hashes -r deploy/fleet.lock

COPY pyproject.toml README.md LICENSE ./
COPY contractcourt contractcourt
COPY storage storage
COPY chain chain
COPY tasks tasks
COPY workers workers
RUN pip install --no-deps --no-build-isolation .

RUN useradd --system --uid 10001 --no-create-home contractcourt \
    && install -d -o contractcourt -g contractcourt -m 0700 /var/lib/contractcourt
USER contractcourt
ENV CONTRACTCOURT_DATA_DIR=/var/lib/contractcourt
VOLUME /var/lib/contractcourt

ENTRYPOINT ["contractcourt"]
CMD ["--help"]
