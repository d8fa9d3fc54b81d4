# Closing a VM frees its objects one by one. That is left to the system in a process that is about to end.
#
# While a stack is moved it must not be looked at, which a signal handler does.
#
# leaves: if (millstream_leaves_memory) return;
# leaves: millstream_moves_stack = 1;
# leaves: millstream_moves_stack = 0;
/^static void resizestack/,/^}/{
s/^static void resizestack/__thread volatile int millstream_moves_stack;\n&/
s/^  GCobj \*up;/&\n  millstream_moves_stack = 1;/
s/^}/  millstream_moves_stack = 0;\n&/
}
s/^static void close_state/__thread int millstream_leaves_memory;\n&/
s/^  lj_gc_freeall(g);/  if (millstream_leaves_memory) return;\n&/
