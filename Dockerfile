# The command line in an image of its own: a static program and the
# certificates of authorities, nothing else, not as root.
#
#   docker build --tag venta-hq/redlock --build-arg VERSION=v1.2.3 --build-arg COMMIT=$(git rev-parse HEAD) .
#   docker run --rm --env REDLOCK_NODES venta-hq/redlock doctor
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION= COMMIT=
RUN make redlock VERSION="$VERSION" COMMIT="$COMMIT"

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/redlock /redlock
USER 65532:65532
ENTRYPOINT ["/redlock"]
