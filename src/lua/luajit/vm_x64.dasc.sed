# On x86-64 LuaJIT takes the number of results of a C function from the whole of `rax`, of which the ABI defines the lower
# half only. Functions compiled by gcc happen to clear the rest; some that rustc compiles do not, and the VM crashes
# (a Rust userdata that lives until its VM is closed did so each time). One instruction more makes it right.
#
# leaves: mov RDd, RDd
s/^\(.*\)lea RA, \[BASE+RD\*8\]$/\1mov RDd, RDd\n&/
