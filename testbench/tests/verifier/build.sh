#!/bin/sh
# Rebuilds the objects of this folder.
set -eu
cd "$(dirname "$0")"
for source in *.c; do
	"${CLANG:-clang-19}" -O2 -g -target bpf -mcpu=v3 -Wall -Wno-unused-const-variable -Wno-unused-function \
		-fdebug-compilation-dir=. -c "$source" -o "${source%.c}.o"
done
