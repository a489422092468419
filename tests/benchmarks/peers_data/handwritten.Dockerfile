FROM {build_base} AS build
RUN python3 -m venv /opt/venv
COPY requirements.txt /build/
COPY wheels /build/wheels
RUN /opt/venv/bin/pip install --no-cache-dir --no-index --find-links /build/wheels -r /build/requirements.txt

FROM {base}
COPY --from=build /opt/venv /opt/venv
COPY model /app/model
COPY app.py /app/
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app/model PYTHONUNBUFFERED=1
WORKDIR /app
USER 65532:65532
EXPOSE 8000
CMD ["uvicorn", "app:app", "--host", "0.0.0.0", "--port", "8000"]
