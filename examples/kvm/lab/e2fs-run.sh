#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# run PROGRAM ARGUMENT...: a program of e2fsprogs from this directory, wherever that was copied.
dir=${0%/*}
program=$1
shift
MKE2FS_CONFIG=$dir/mke2fs.conf E2FSPROGS_LIBMAGIC_SUPPRESS=1 exec "$dir/ld-linux-x86-64.so.2" \
	--library-path "$dir" "$dir/$program" "$@"
