# LuaJIT gives up for good on code whose compilation failed about ten times, and chance decides what a callback does
# meanwhile: of two runs one interpreted a callback to the end that the other compiled at once. Ours tries again, after as
# many runs as LuaJIT's longest pause.
#
# leaves: val = PENALTY_MAX;
/val > PENALTY_MAX/,/}/{
  s/blacklist_pc(pt, pc);.*/val = PENALTY_MAX;/
  s/return;/(void)blacklist_pc;/
}
