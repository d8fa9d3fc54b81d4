# The same as in compiled code, see lj_ir.c.sed.
#
# leaves: #define pow own_pow
/^#include <math.h>$/a\
#include <stdint.h>\
#include <string.h>\
static inline double own_pow(double x, double y)\
{\
  if (x == 2 && y >= -1022 && y <= 1023 && y == (int)y) {\
    uint64_t bits = (uint64_t)((int)y + 1023) << 52;\
    double power;\
    memcpy(&power, &bits, sizeof(power));\
    return power;\
  }\
  return pow(x, y);\
}\
#define pow own_pow
