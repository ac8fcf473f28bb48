# Functions without a size, one that calls a label inside itself, one that calls the other.
	.text
	.globl first
	.type first,@function
first:
	call double
	exit
double:
	r0 = r1
	r0 += r0
	exit
	.globl second
	.type second,@function
second:
	r1 += 1
	call first
	exit
