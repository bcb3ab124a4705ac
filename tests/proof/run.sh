#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The proof: Frama-C's Eva follows the pure library through every guest at once, and every
# alarm that is left is closed by an argument in alarms.txt. README.md says what that covers.
#
#	tests/proof/run.sh            all entry points, then faults put in to be seen: some minutes
#	tests/proof/run.sh NAME...    only these, of entries.txt and faults.txt
#
# Works in build/proof. Installs Frama-C where it is missing (Debian 12, root or sudo). Exit
# status: 0 if all passed, 1 if not, 2 wrong usage.
set -euo pipefail
cd "$(dirname "$0")/../.."

case ${1-} in
-h | --help) sed -n '4,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
-*) echo "tests/proof/run.sh: unexpected argument '$1'; try --help" >&2; exit 2 ;;
esac

as_root()
{
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

if ! command -v frama-c >/dev/null; then
	echo "installing frama-c-base: the analyser"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 update ||
		echo "apt-get update had failures; trying to install all the same"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 install -y \
		--no-install-recommends frama-c-base gcc libc6-dev python3
fi
export PYTHONDONTWRITEBYTECODE=1
exec python3 tests/proof/prove.py "$PWD" "$PWD/build/proof" "$@"
