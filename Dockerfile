# syntax=docker/dockerfile:1

# One static binary in an empty image. Alpine's Rust builds for musl, and links all of it in.
#
# Not built where this was written: no container tool and no Rust for musl could be had there. docs/container.md tells
# what was checked.

FROM rust:1.95-alpine AS build
WORKDIR /source
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    cargo build --locked --profile dist --package cli \
    && cp target/dist/coordinator /coordinator \
    && mkdir /data

FROM scratch
COPY --from=build /coordinator /coordinator
# A volume that is made here begins as a copy of this, and so belongs to who runs the server.
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
# SQLite puts what it needs for a moment into the working directory: there is no /tmp.
WORKDIR /data
ENV API_HOST=0.0.0.0 COORDINATOR_DB=/data/coordinator.db
VOLUME /data
EXPOSE 8081
ENTRYPOINT ["/coordinator"]
CMD ["serve"]
