FROM ml-packaging-harness/base:3.11-build AS build
ENV PYC_INVALIDATION_MODE=UNCHECKED_HASH UV_NO_INSTALLER_METADATA=1
COPY build /build
RUN uv pip install --quiet --offline --no-cache --no-index --no-deps --require-hashes --find-links /build/wheels --python /usr/bin/python3.11 --target /app/dependencies --requirement /build/requirements.txt --compile-bytecode && /usr/bin/python3.11 /build/pruning.py --keep /build/keep.txt /app/dependencies tests stubs headers symbols duplicates
COPY model /app/model
RUN ["/usr/bin/python3.11", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/app/model"]
FROM ml-packaging-harness/base:3.11
COPY --from=build /app/dependencies /app/dependencies
COPY --from=build /app/model /app/model
ENV PYTHONPATH="/app/model:/app/dependencies"
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["/usr/bin/python3.11", "-m", "harness_runner"]
CMD ["once"]
