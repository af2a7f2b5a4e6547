#!/bin/sh
# Fails when clients/openapi.json breaks who used it as it was before its last change: as committed while it differs from that, else
# as of the commit before the last that changed it. A break that is meant stands in clients/breaking.txt, in the words of the tool.
# A new type of event is no break, since a follower has to pass over types that it does not know
# (tools/breaking.levels). A clone without that commit has nothing to compare with.
set -eu
cd "$(dirname "$0")/.."
schema=clients/openapi.json
git diff --quiet HEAD -- $schema 2>/dev/null && skip=1 || skip=0
before=$(git log --skip=$skip -1 --format=%H -- $schema 2>/dev/null || true)
if test -z "$before"; then
  echo "no earlier $schema to compare with: this clone has no history"
  exit 0
fi
mkdir -p .cache
git show "$before:$schema" >.cache/openapi.before.json
(cd tools && go build -o ../.cache/bin/oasdiff github.com/oasdiff/oasdiff)
.cache/bin/oasdiff breaking --fail-on ERR --format singleline --color never --severity-levels tools/breaking.levels --err-ignore clients/breaking.txt .cache/openapi.before.json $schema
