# Closing a VM frees its objects one by one. That is left to the system in a process that is about to end.
#
# leaves: if (millstream_leaves_memory) return;
s/^static void close_state/__thread int millstream_leaves_memory;\n&/
s/^  lj_gc_freeall(g);/  if (millstream_leaves_memory) return;\n&/
