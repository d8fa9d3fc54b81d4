/* What the watchdog needs of LuaJIT, and closing a VM, and its public interface does not give. Used by raw.rs only. */

#include "lj_obj.h"
#include "lj_err.h"
#include "lj_gc.h"

/* Raises the error on top of the stack without calling the handler of any xpcall on the way: a handler runs with hooks
** switched off when the error comes out of a hook, so one that loops could never be stopped. Hooks stay on for the same
** reason: a pcall inside a finalizer would leave them off when it catches the error. */
void millstream_throw(lua_State *L)
{
  hook_leave(G(L));
  lj_err_throw(L, LUA_ERRRUN);
}

/* Lets hooks run although a finalizer or another hook is running, which LuaJIT marks by this flag. Called from a signal
** handler on the thread that runs the VM. */
void millstream_allow_hook(lua_State *L)
{
  hook_leave(G(L));
}

/* The hook that interrupts callbacks, which runs in finalizers too, see luajit/lj_gc.c.sed. */
extern lua_Hook millstream_stopper;

void millstream_stop_by(lua_Hook hook)
{
  millstream_stopper = hook;
}

/* Tells whether two states belong to the same VM. */
int millstream_same_vm(lua_State *a, lua_State *b)
{
  return G(a) == G(b);
}

/* Tells whether the VM is running compiled code: only then is the base of its stack kept here. (The number of the running
** trace is kept on x86 only.) */
int millstream_in_trace(lua_State *L)
{
  return tvref(G(L)->jit_base) != NULL;
}

/* Whether this thread moves a stack, see luajit/lj_state.c.sed. */
extern __thread volatile int millstream_moves_stack;

/* Tells whether the VM is inside a C function, and the stack of its main state can be read: the interpreter has written down
** where it is before it called the function, or before it resumed the coroutine that did. Called from a signal handler on the
** thread that runs the VM. */
int millstream_in_c(lua_State *L)
{
  return G(L)->vmstate == ~LJ_VMST_C && !millstream_moves_stack;
}

/* Whether VMs that this thread closes leave their memory to the system, see luajit/lj_state.c.sed. */
extern __thread int millstream_leaves_memory;

void millstream_leave_memory(int leave)
{
  millstream_leaves_memory = leave;
}

/* See luajit/lj_str.c.sed. */
extern void lj_str_foresee(global_State *g, const char *str, size_t len);

void millstream_foresee_text(lua_State *L, const char *text, size_t len)
{
  lj_str_foresee(G(L), text, len);
}

static int finalize(lua_State *L)
{
  lj_gc_finalize_udata(L);
  return 0;
}

static int finalize_cdata(lua_State *L)
{
  lj_gc_finalize_cdata(L);
  return 0;
}

/* Keeps the objects that are to be finalized from it. */
static void pass_over(global_State *g)
{
  GCobj *last = gcref(g->gc.mmudata);
  if (last) {
    GCobj *first = gcnext(last);
    setgcrefr(last->gch.nextgc, mainthread(g)->nextgc);
    setgcref(mainthread(g)->nextgc, first);
    setgcrefnull(g->gc.mmudata);
  }
}

/* Runs the finalizers of scripts, and of what they make meanwhile, as often as LuaJIT does when it closes a VM: the host's
** functions can still be called, as they cannot while a VM is being closed. What is left then is not finalized, nor is
** what is made later. */
void millstream_finalize(lua_State *L)
{
  enum { ALL = 1, OF_SCRIPTS = 2, ROUNDS = 10 };
  global_State *g = G(L);
  int i;
  lua_cpcall(L, finalize_cdata, NULL);
  for (i = 0; i < ROUNDS; i++) {
    lj_gc_separateudata(g, ALL | OF_SCRIPTS);
    if (gcref(g->gc.mmudata) == NULL) return;
    lua_cpcall(L, finalize, NULL);
  }
  lj_gc_separateudata(g, ALL | OF_SCRIPTS);
  pass_over(g);
}
