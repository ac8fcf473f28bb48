/* Defines what part.c defines. */
#include "../bpf.h"

int limit = 3;
