# Airflow with this project in it. Its versions are those that the checks pass with (requirements.txt), and no others: the
# slim image brings Airflow alone, where the full one has dozens of providers that ask for other versions.
# `make image-check` runs the pip lines below in empty environments.
FROM apache/airflow:slim-3.3.2-python3.11 AS airflow

USER root
RUN install --directory --owner=airflow --group=0 /opt/etl /opt/airflow/reports
USER airflow
WORKDIR /opt/etl

# First what the project needs, so that a change of its code needs no new download.
COPY --chown=airflow:0 pyproject.toml requirements.txt LICENSE ./
RUN touch README.md \
    && pip install --no-cache-dir --constraint requirements.txt "apache-airflow==${AIRFLOW_VERSION}" ".[airflow]" \
    && pip check

COPY --chown=airflow:0 README.md ./
COPY --chown=airflow:0 contracts ./contracts
COPY --chown=airflow:0 transforms ./transforms
COPY --chown=airflow:0 generators ./generators
COPY --chown=airflow:0 pipeline ./pipeline
RUN pip install --no-cache-dir --no-deps --force-reinstall . \
    && rm -rf build ./*.egg-info contracts transforms generators pipeline \
    && pip check

COPY --chown=airflow:0 docker/airflow/with_secrets.py docker/airflow/healthy.py docker/airflow/healthy_worker.py ./
COPY --chown=airflow:0 docker/airflow/airflow_local_settings.py /opt/airflow/config/
COPY --chown=airflow:0 dags /opt/airflow/dags

# Away from the sources: what is imported below must be what was installed.
WORKDIR /opt/airflow
RUN airflow version && python -c "import pipeline.airflow.generate, pipeline.airflow.maintenance, pipeline.airflow.marts, pipeline.airflow.replicate, pipeline.airflow.report, pipeline.airflow.sync, pipeline.airflow.verify"

ENTRYPOINT ["/usr/bin/dumb-init", "--", "python", "/opt/etl/with_secrets.py", "/entrypoint"]

# JupyterLab with the notebooks' libraries, for the profile jupyter.
FROM python:3.11-slim AS jupyter
RUN useradd --create-home --uid 1000 work && install --directory --owner=work /work/notebooks
WORKDIR /opt/etl
COPY pyproject.toml requirements.txt LICENSE README.md ./
COPY contracts ./contracts
COPY transforms ./transforms
COPY generators ./generators
COPY pipeline ./pipeline
RUN pip install --no-cache-dir --constraint requirements.txt ".[notebook]" \
    && pip check \
    && rm -rf build ./*.egg-info contracts transforms generators pipeline
COPY --chown=work docker/airflow/with_secrets.py ./
USER work
WORKDIR /work/notebooks
ENTRYPOINT ["python", "/opt/etl/with_secrets.py"]
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser"]
