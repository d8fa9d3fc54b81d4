/* What the watchdog needs of LuaJIT and its public interface does not give. Used by raw.rs only. */

#include "lj_obj.h"
#include "lj_err.h"

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
