#!/bin/sh
# Rebuilds programs.o, into OUT or beside the source.
set -eu
cd "$(dirname "$0")"
"${CLANG:-clang-19}" -O2 -g -target bpf -mcpu=v3 -Wall -Wno-uninitialized -I../../../programs/include \
	-fdebug-compilation-dir=. -c programs.c -o "${OUT:-.}/programs.o"
