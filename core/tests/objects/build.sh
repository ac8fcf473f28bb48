#!/bin/sh
# Rebuilds the objects of the loader's tests, into OUT or beside the sources.
set -eu
cd "$(dirname "$0")"
for source in *.c; do
	name=${source%.c}
	debug=-g
	[ "$name" = no_debug ] && debug=
	"${CLANG:-clang-19}" -O2 $debug -target bpf -mcpu=v3 -Wall -Wno-unused -Wno-visibility \
		-fdebug-compilation-dir=. -c "$source" -o "${OUT:-.}/$name.o"
done
mkdir -p "${OUT:-.}/kernel" "${OUT:-.}/link"
for source in kernel/*.c link/*.c; do
	"${CLANG:-clang-19}" -O2 -g -target bpf -mcpu=v3 -Wall -fdebug-compilation-dir=. \
		-c "$source" -o "${OUT:-.}/${source%.c}.o"
done
for source in *.s; do
	"${CLANG:-clang-19}" -target bpf -c "$source" -o "${OUT:-.}/${source%.s}.o"
done
