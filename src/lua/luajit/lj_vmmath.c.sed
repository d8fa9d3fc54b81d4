# `2 ^ n`, by which scripts make classes of sizes, is a call of the C library in compiled loops, which takes longer than all
# the rest of a callback that counts. A power of two that is a normal number is its exponent and nothing else.
#
# leaves: #define pow own_pow
/^#include <math.h>$/a\
#include <stdint.h>\
#include <string.h>\
double own_pow(double x, double y)\
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
