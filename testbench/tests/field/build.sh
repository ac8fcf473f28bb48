#!/bin/sh
# The XDP programs of Debian's xdp-tools and, compiled as Linux compiles them, the XDP samples and selftests of Debian's
# linux-source-6.1, into OUT. Needs: xdp-tools, linux-source-6.1, linux-headers-amd64, libbpf-dev, bpftool, clang-19,
# llvm-19, and a kernel that shows its types. IOM is the command iom.
set -eu
out=${1:?folder for the objects}
mkdir -p "$out/objects" "$out/log"
out=$(cd "$out" && pwd)
iom=${IOM:?path of iom}
tree=$out/linux-source-6.1
[ -d "$tree" ] || tar -C "$out" -xf /usr/src/linux-source-6.1.tar.xz linux-source-6.1/samples/bpf \
	linux-source-6.1/tools/testing/selftests/bpf linux-source-6.1/tools/include linux-source-6.1/tools/lib/bpf
headers=$(echo /usr/src/linux-headers-6.1.*-common)
built=${headers%-common}-amd64
selftests=$tree/tools/testing/selftests/bpf
samples=$tree/samples/bpf
bpftool btf dump file /sys/kernel/btf/vmlinux format c > "$out/vmlinux.h"

cp /usr/lib/x86_64-linux-gnu/bpf/*.o "$out/objects"

# What does not compile is named, with clang's first error.
try() {
	name=$1
	shift
	"$@" > "$out/log/$name" 2>&1 || echo "$name: $(grep -m1 error "$out/log/$name")"
}
bpf() {
	clang-19 -O2 -g -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -I"$out" -I"$selftests" -I"$samples" -I"$tree/tools/include/uapi" \
		-I"$tree/tools/include" -I/usr/include/x86_64-linux-gnu -Wno-everything -c "$1" -o "$2"
}
# Samples with the kernel's own headers are compiled for the host up to LLVM's code, as samples/bpf/Makefile says.
kernel() {
	clang-19 -O2 -g -emit-llvm -Xclang -disable-llvm-passes -nostdinc -isystem "$(clang-19 -print-resource-dir)/include" \
		-I"$headers/arch/x86/include" -I"$built/arch/x86/include/generated" -I"$headers/include" -I"$built/include" \
		-I"$headers/arch/x86/include/uapi" -I"$built/arch/x86/include/generated/uapi" -I"$headers/include/uapi" \
		-I"$built/include/generated/uapi" -include "$headers/include/linux/compiler-version.h" \
		-include "$headers/include/linux/kconfig.h" -I"$samples" -I"$selftests" -I/usr/include -D__KERNEL__ \
		-D__BPF_TRACING__ -D__TARGET_ARCH_x86 -fno-stack-protector -Wno-everything \
		-include "$samples/asm_goto_workaround.h" -c "$1" -o "$out/log/code.bc"
	opt-19 -O2 -mtriple=bpf "$out/log/code.bc" -o "$out/log/bpf.bc"
	llc-19 -march=bpf -mcpu=v3 -filetype=obj "$out/log/bpf.bc" -o "$2"
}

for source in $(grep -lE 'SEC\("\??xdp' "$selftests"/progs/*.c); do
	name=$(basename "$source" .c)
	try "selftest_$name" bpf "$source" "$out/objects/selftest_$name.o"
done
for source in $(grep -lE 'SEC\("\??xdp' "$samples"/*_kern.c); do
	name=$(basename "$source" .c)
	try "sample_$name" kernel "$source" "$out/objects/sample_$name.o"
done
bpf "$samples/xdp_sample.bpf.c" "$out/xdp_sample.o"
for source in $(grep -lE 'SEC\("\??xdp' "$samples"/*.bpf.c); do
	name=$(basename "$source" .bpf.c)
	[ "$name" = xdp_sample ] && continue
	try "sample_$name" bpf "$source" "$out/sample_$name.o"
	"$iom" link "$out/sample_$name.o" "$out/xdp_sample.o" -o "$out/objects/sample_$name.o"
done
