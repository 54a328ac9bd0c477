#!/usr/bin/env bash
# Setup script of a cloud sandbox: says early whether the bridge to the coordinator will work. It installs nothing, and never
# fails: a sandbox without a coordinator is still a sandbox.
set -uo pipefail

bridge=
for folder in .claude .codex .gemini; do
    candidate=$folder/skills/setup-coordinator/scripts/coordination_bridge.py
    if [ -f "$candidate" ]; then
        bridge=$candidate
        break
    fi
done
if [ -z "$bridge" ]; then
    echo "coordinator: no skills in this repository: run skills/install.sh, and commit what it wrote"
elif ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    echo "coordinator: the bridge needs Python 3.9 or later as python3"
elif [ -z "${COORDINATION_API_URL:-}" ]; then
    echo "coordinator: the bridge is ready; COORDINATION_API_URL is not set here (a setup script may not see what a session sees)"
else
    python3 "$bridge" detect
fi
exit 0
