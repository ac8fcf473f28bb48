#!/bin/sh
# Rebuilds every programs/NAME/NAME.o and writes HASHES. The objects hold no path of the machine that built them.
# Another place for the objects: OUT=/some/folder sh build.sh (HASHES is then left alone).
set -eu
cd "$(dirname "$0")"
clang=${CLANG:-clang-19}
for source in */*.c; do
	name=$(basename "$source" .c)
	target=${OUT:+$OUT/$name.o}
	(cd "$(dirname "$source")" && "$clang" -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-const-variable \
		-Wno-unused-parameter -I../include -fdebug-compilation-dir=. -c "$name.c" -o "${target:-$name.o}")
done
if [ -z "${OUT:-}" ]; then
	{
		echo "# $("$clang" --version | head -n 1)"
		sha256sum include/*.h */*.c */*.o
	} >HASHES
fi
