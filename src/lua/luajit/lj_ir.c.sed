# Compiled code takes powers from the same function as the interpreter, see lj_vmmath.c.sed.
#
# leaves: #define pow own_pow
/^#include <math.h>$/a\
double own_pow(double x, double y);\
#define pow own_pow
