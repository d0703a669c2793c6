# One image for webserver, daemon and command line; say which when you start it:
#   docker run -e REFRESH_DATABASE_URL=... -p 3000:3000 refresh-assets \
#     dagster-webserver -h 0.0.0.0 -p 3000 -w workspace.yaml
#   docker run -e REFRESH_DATABASE_URL=... refresh-assets dagster-daemon run -w workspace.yaml
#   docker run -e REFRESH_DATABASE_URL=... refresh-assets refresh-assets run
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 DAGSTER_HOME=/opt/dagster
WORKDIR /opt/refresh-assets

COPY requirements.lock pyproject.toml README.md LICENSE CHANGELOG.md workspace.yaml ./
COPY refresh_assets refresh_assets
RUN pip install --no-cache-dir --constraint requirements.lock .

RUN useradd --create-home refresh && mkdir -p $DAGSTER_HOME && chown refresh $DAGSTER_HOME
COPY --chown=refresh dagster.yaml $DAGSTER_HOME/dagster.yaml
USER refresh

CMD ["refresh-assets", "--help"]
