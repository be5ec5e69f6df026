# One image for every service that runs in a cluster: each is one bundled file, chosen by the command.
# In production pin both stages by digest: --build-arg NODE_IMAGE=node:24-bookworm-slim@sha256:…
ARG NODE_IMAGE=node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /src
# The manifests come first, so that packages are installed again only if one of these changes.
COPY package.json package-lock.json ./
COPY libs/shared/package.json libs/shared/
COPY services/collector/package.json services/collector/
COPY services/evaluator/package.json services/evaluator/
COPY services/shim/package.json services/shim/
COPY services/notifier/package.json services/notifier/
COPY services/promoter/package.json services/promoter/
COPY cli/package.json cli/
COPY examples/fleet/package.json examples/fleet/
RUN npm ci --no-audit --no-fund
COPY libs libs
COPY services services
COPY cli cli
COPY examples examples
COPY scripts scripts
RUN node scripts/bundle.ts --out /out

FROM ${NODE_IMAGE}
ENV NODE_ENV=production \
    AVIARY_OPS_HOST=0.0.0.0 \
    AVIARY_OPS_PORT=9464
RUN groupadd --gid 10001 aviary && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin aviary
WORKDIR /app
# A named volume that is mounted here takes over its owner.
RUN mkdir /data && chown 10001:10001 /data
COPY --from=build /out ./
COPY LICENSE ./
USER 10001:10001
# The ops listener of every service reports whether its event loop runs.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.AVIARY_OPS_PORT}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node"]
CMD ["aviary.mjs", "help"]
