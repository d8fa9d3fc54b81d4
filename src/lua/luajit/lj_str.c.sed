# Strings lie all over the memory: whoever looks one up waits for the first of a chain. The host knows ahead which texts scripts
# will be given, and asks for the memory of many at once.
#
# leaves: void lj_str_foresee(global_State *g, const char *str, size_t len)
$a\
\
void lj_str_foresee(global_State *g, const char *str, size_t len)\
{\
  if (len-1 < LJ_MAX_STR-1) {\
    StrHash hash = hash_sparse(g->str.seed, str, (MSize)len);\
    __builtin_prefetch((void *)(gcrefu(g->str.tab[hash & g->str.mask]) & ~(uintptr_t)1));\
  }\
}
