# Weir: operator, limiter and the stand-in model server are one image; weir-init (target of its own) holds what the redirect needs.
#   docker build -t weir:0.2.1 .                        docker build --target weir-init -t weir-init:0.2.1 .
# BASE is what the image runs on: Node at least 24 as `node` on the PATH, users need no other programs. BUILD_BASE also has npm.
# A registry behind a proxy or with a CA of its own: --secret id=npmrc,src=$HOME/.npmrc --secret id=ca,src=ca-certificates.crt
ARG BASE=docker.io/library/node:24-bookworm-slim
ARG BUILD_BASE=${BASE}
ARG INIT_BASE=docker.io/library/debian:bookworm-slim

# ---- compiled code and the packages that it needs, in /out as they lie in the image ----
FROM ${BUILD_BASE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export NODE_EXTRA_CA_CERTS=/run/secrets/ca NPM_CONFIG_CAFILE=/run/secrets/ca; fi; \
    npm ci --include=dev --omit=optional --ignore-scripts --no-audit --no-fund \
 && mkdir -p /out/opt/weir /out/usr/local/bin \
 && npm sbom --package-lock-only --omit=dev --omit=optional --sbom-format=cyclonedx > /out/opt/weir/sbom.cdx.json \
 && mkdir /prod && cp -R package.json package-lock.json node_modules /prod/ && cd /prod \
 && npm prune --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund \
 && mv node_modules /out/opt/weir/node_modules
COPY . .
RUN node_modules/.bin/tsc -p tsconfig.build.json --sourceMap false && node scripts/copy-assets.ts \
 && scripts/prune-modules.sh /out/opt/weir/node_modules \
 && cp -R dist bin package.json LICENSE /out/opt/weir/ \
 && ln -s /opt/weir/bin/weir /out/usr/local/bin/weir \
 && chmod -R a+rX,go-w /out

# ---- weir-init: sends a pod's incoming connections through its limiter, then ends ----
FROM ${INIT_BASE} AS weir-init
ARG VERSION=0.2.1
RUN apt-get update && apt-get install -y --no-install-recommends iptables && rm -rf /var/lib/apt/lists/*
COPY deploy/weir-init/weir-init.sh /usr/local/bin/weir-init
ENTRYPOINT ["/usr/local/bin/weir-init"]
LABEL org.opencontainers.image.title="weir-init" \
      org.opencontainers.image.description="Redirects a pod's port to its Weir limiter" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"

# ---- weir ----
FROM ${BASE} AS weir
ARG VERSION=0.2.1
COPY --from=build /out/ /
# No home folder is needed and none may be asked of /etc/passwd, where this user is not.
# What a rush takes for a moment is not kept, as in bin/weir.
ENV NODE_ENV=production HOME=/tmp MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
WORKDIR /
# No shell in between: Node is PID 1 and gets SIGTERM itself.
ENTRYPOINT ["node", "--expose-gc", "--max-semi-space-size=8", "/opt/weir/dist/cli/main.js"]
CMD ["--help"]
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="Rate limits for AI traffic on Kubernetes: operator and limiter" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
