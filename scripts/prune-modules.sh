#!/bin/sh
# Image build step: leaves in node_modules (first argument) only what Node loads: no types, source maps, tests, documents,
# nor code for other runtimes. Licences stay.
set -eu
modules=$1
find "$modules" -type f \( -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.map' -o -name '*.flow' \
  -o -iname '*.markdown' -o \( -iname '*.md' ! -iname 'licen*' \) -o -name '.package-lock.json' -o -name '*.tsbuildinfo' \) -delete
# A package's own folders only (depth 1 below its root): a folder "docs" deeper down may be code.
find "$modules" -type f -name package.json | while read -r manifest; do
  root=$(dirname "$manifest")
  parent=$(dirname "$root")
  case "$(basename "$parent")" in node_modules | @*) ;; *) continue ;; esac
  for folder in test tests __tests__ docs doc example examples benchmark benchmarks coverage .github .nyc_output; do
    rm -rf "${root:?}/$folder"
  done
done
# Modules for the runtime Bare: packages name them beside Node's own, and Node never loads them.
rm -rf "$modules"/bare-*
# The push protocol is read from the .proto files; of the xDS package nothing else is loaded.
rm -rf "$modules/@grpc/grpc-js-xds/build" "$modules/re2-wasm" "$modules/@grpc/grpc-js/src"
find "$modules" -type d -empty -delete
