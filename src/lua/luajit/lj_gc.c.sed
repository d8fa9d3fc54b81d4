# Of objects that go at the same time LuaJIT finalizes the youngest first. That may be a function of the host which the
# finalizer of a script calls. Finalizers of scripts come first here, and what they can reach stays. The host's are C
# functions without upvalues; scripts cannot make one.
#
# leaves: is_of_host(g, o)
# leaves: udsize = lj_gc_separateudata(g, 2);
# leaves: udsize += lj_gc_separateudata(g, 0);
/^#define isfinalized/a\
static int is_of_host(global_State *g, GCobj *o)\
{\
  cTValue *gc = lj_meta_fastg(g, tabref(gco2ud(o)->metatable), MM_gc);\
  return gc && tvisfunc(gc) && iscfunc(funcV(gc)) && funcV(gc)->c.nupvalues == 0;\
}
s/^    if (!(iswhite(o) || all) || isfinalized(gco2ud(o))) {/    if (!(iswhite(o) || (all \& 1)) || isfinalized(gco2ud(o)) || ((all \& 2) \&\& is_of_host(g, o))) {/
s/udsize = lj_gc_separateudata(g, 0);.*/udsize = lj_gc_separateudata(g, 2);/
/udsize += gc_propagate_gray(g);/a\
  udsize += lj_gc_separateudata(g, 0);\
  gc_mark_mmudata(g);\
  udsize += gc_propagate_gray(g);
# While a callback is being interrupted, finalizers are as well, at once: each would be waited for otherwise.
#
# leaves: if (g->hookf == millstream_stopper && (g->hookmask & LUA_MASKCOUNT)) hook_leave(g);
/^#define isfinalized/i\
lua_Hook millstream_stopper;
/^  hook_entergc(g);/a\
  if (g->hookf == millstream_stopper \&\& (g->hookmask \& LUA_MASKCOUNT)) hook_leave(g);
# Which strings are dead is seen chain by chain: the memory is asked for those that come later, as nothing else would.
#
# leaves: __builtin_prefetch((void *)(gcrefu(g->str.tab[(g->gc.sweepstr + 8) & g->str.mask]) & ~(uintptr_t)1));
/^    gc_sweepstr(g, &g->str.tab\[g->gc.sweepstr++\]);/i\
    __builtin_prefetch((void *)(gcrefu(g->str.tab[(g->gc.sweepstr + 8) & g->str.mask]) & ~(uintptr_t)1));
