//! Functions that compiled Lua calls straight through `ffi`: counter updates, layers and flow ids of the current packet.
//!
//! Each takes the address of its [`VmContext`] first. They never panic, never call back into Lua, and check pointer and
//! length before they trust them; whatever is wrong is counted and the call does nothing.
#![expect(unsafe_code, reason = "the table of functions that Lua calls by address")]

use std::cell::RefMut;
use std::ffi::{c_char, c_void};
use std::panic::{self, AssertUnwindSafe};
use std::ptr;
use std::slice;

use super::context::{VmContext, bump};
use super::events::FlowEnds;
use super::flow_fields;
use super::key_cells::WordKey;
use super::loan::LayerSlot;
use crate::flow::FlowHandle;
use crate::key::{End, FlowTuple, Host, KeyKind};
use crate::metrics::{GroupIndex, LONGEST_INLINE, Outcome, Shard, SumCell};
use crate::packet::{Batch, Packet, ProtocolId};

/// The functions, in the order declared in `lua/objects.lua`.
#[repr(C)]
#[derive(Debug)]
pub struct HostTable {
    update_counter: extern "C" fn(*const VmContext, i32, *const u8, u32, i32, f64) -> i32,
    sum_cell: extern "C" fn(*const VmContext, i32, *const u8, u32, i32, *mut SumCell) -> i32,
    update_counter_bytes: extern "C" fn(*const VmContext, i32, *const u8, u32, i32),
    update_counter_at: extern "C" fn(*const VmContext, i32, *const u8, u32, i32, i32, f64),
    update_counter_end: extern "C" fn(*const VmContext, i32, i32, i32, f64),
    flow_id: extern "C" fn(*const VmContext, *mut c_char) -> i32,
    fill_packet: extern "C" fn(*const VmContext),
    layer_at: extern "C" fn(*const VmContext, i32) -> *const LayerSlot,
    find_layer: extern "C" fn(*const VmContext, i32) -> *const LayerSlot,
    flow_name: extern "C" fn(*const VmContext, i32, u32, *mut c_char) -> i32,
    flow_field: extern "C" fn(*const u8, u32, i32, *mut c_char) -> i32,
    flow_ends: extern "C" fn(*const VmContext, *mut FlowEnds) -> i32,
    flow_part: extern "C" fn(u32, u32, u32, u32, i32, *mut c_char) -> i32,
    disable_reassembly: extern "C" fn(*const VmContext, *const u8, u32),
    disable_reassembly_of: extern "C" fn(*const VmContext, u32, u32, u32, u32),
    named_protocols: extern "C" fn(*const VmContext) -> i32,
}

static TABLE: HostTable = HostTable {
    update_counter,
    sum_cell,
    update_counter_bytes,
    update_counter_at,
    update_counter_end,
    flow_id,
    fill_packet,
    layer_at,
    find_layer,
    flow_name,
    flow_field,
    flow_ends,
    flow_part,
    disable_reassembly,
    disable_reassembly_of,
    named_protocols,
};

/// Address of the table, for `ffi.cast`.
#[must_use]
pub fn table_address() -> *const c_void {
    ptr::from_ref(&TABLE).cast()
}

/// The context behind an address that Lua handed back.
///
/// # Safety
/// `vm` is null or the address of a live context that outlives the call, as `objects.lua` passes it.
unsafe fn context<'a>(vm: *const VmContext) -> Option<&'a VmContext> {
    // SAFETY: by this function's contract.
    unsafe { vm.as_ref() }
}

/// The bytes of a Lua string or of a packet slice.
///
/// # Safety
/// `data` is null or valid for `len` bytes for the duration of the call.
unsafe fn bytes<'a>(data: *const u8, len: u32) -> &'a [u8] {
    if data.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: by this function's contract.
    unsafe { slice::from_raw_parts(data, len as usize) }
}

/// The shard without what waits in this VM; `None` while it may not write.
#[inline]
fn shard(vm: &VmContext) -> Option<RefMut<'_, Shard>> {
    if vm.writing.refuses() { None } else { vm.engine.shard.try_borrow_mut().ok() }
}

/// The shard with all in it that this VM counted; `None` while it may not write.
#[inline]
fn shard_to_write(vm: &VmContext) -> Option<RefMut<'_, Shard>> {
    let mut shard = shard(vm)?;
    if vm.key_cells.have_waiting() {
        vm.key_cells.settle(&mut shard);
    }
    Some(shard)
}

#[inline]
fn update(vm: &VmContext, group: i32, key: &[u8], meter: i32, value: f64) {
    if key.len() > LONGEST_INLINE && text_waits(vm, group, key, meter, value) {
        return;
    }
    let Some(mut shard) = shard_to_write(vm) else { return };
    let group = GroupIndex(group as u16);
    let outcome = shard.update(group, key, meter as u32, value);
    drop(shard);
    if outcome != Outcome::Counted {
        refused(vm, group, meter, outcome);
    }
}

/// Has a text wait that is long enough to lie apart from its record. False if it has to be counted now.
fn text_waits(vm: &VmContext, group: i32, key: &[u8], meter: i32, value: f64) -> bool {
    let Some(mut shard) = shard(vm) else { return true };
    vm.key_cells.wait_text(GroupIndex(group as u16), key, meter as u32, value, &mut shard)
}

#[cold]
fn refused(vm: &VmContext, group: GroupIndex, meter: i32, outcome: Outcome) {
    match outcome {
        Outcome::UnknownMeter => unknown_meter(vm, group, f64::from(meter)),
        Outcome::Reserved => {
            bump(&vm.engine.oddities.updates_refused);
            let name = group_name(vm, group);
            vm.warn_once(&format!("update_counter: the key SYS:GROUP_TOTALS of '{name}' is reserved"));
        }
        _ => {}
    }
}

/// Counts an update of a meter that does not exist and warns of it once.
pub fn unknown_meter(vm: &VmContext, group: GroupIndex, meter: f64) {
    bump(&vm.engine.oddities.updates_refused);
    let name = group_name(vm, group);
    vm.warn_once(&format!("update_counter: counter group '{name}' has no meter {meter}"));
}

fn group_name(vm: &VmContext, group: GroupIndex) -> String {
    vm.engine.groups.counter_group(group).map_or_else(String::new, |g| String::from_utf8_lossy(&g.name).into_owned())
}

/// Returns whether the caller should ask for a cell for this key.
extern "C" fn update_counter(
    vm: *const VmContext,
    group: i32,
    key: *const u8,
    len: u32,
    meter: i32,
    value: f64,
) -> i32 {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return 0 };
    // SAFETY: LuaJIT passes a string's own bytes and its length, and keeps the string alive over the call.
    let key = unsafe { bytes(key, len) };
    update(vm, group, key, meter, value);
    i32::from(vm.suggest_cell())
}

/// Fills a cell for a key that was just counted; returns 0 if it cannot have one.
extern "C" fn sum_cell(
    vm: *const VmContext,
    group: i32,
    key: *const u8,
    len: u32,
    meter: i32,
    cell: *mut SumCell,
) -> i32 {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return 0 };
    // SAFETY: LuaJIT passes a string's own bytes and its length, and keeps the string alive over the call.
    let key = unsafe { bytes(key, len) };
    let Some(mut shard) = shard_to_write(vm) else { return 0 };
    let Some(found) = shard.sum_cell(GroupIndex(group as u16), key, meter as u32) else { return 0 };
    if cell.is_null() {
        return 0;
    }
    // SAFETY: engine.lua passes a cell of its own, which has this layout.
    unsafe { cell.write(found) };
    1
}

extern "C" fn update_counter_bytes(vm: *const VmContext, group: i32, key: *const u8, len: u32, meter: i32) {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return };
    // SAFETY: LuaJIT passes a string's own bytes and its length, and keeps the string alive over the call.
    let key = unsafe { bytes(key, len) };
    // The packet of an input filter is yet to be built.
    let packet = vm.current_packet().filter(|_| vm.own_time.get().is_none());
    let Some(index) = packet else { return bump(&vm.engine.oddities.no_packet) };
    let Ok(batch) = vm.engine.batch.try_borrow() else { return };
    let Some(packet) = batch.packets().get(index) else { return bump(&vm.engine.oddities.no_packet) };
    update(vm, group, key, meter, f64::from(packet.wirelen));
}

extern "C" fn update_counter_at(
    vm: *const VmContext,
    group: i32,
    key: *const u8,
    len: u32,
    kind: i32,
    meter: i32,
    value: f64,
) {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return };
    // SAFETY: engine.lua checked the range against the slot's length and that the slot is lent.
    let key = unsafe { bytes(key, len) };
    let word = match (kind, key) {
        (1, &[a, b, c, d]) => WordKey::host([a, b, c, d], GroupIndex(group as u16), meter as u32),
        (3, &[high, low]) => WordKey::port(u16::from_be_bytes([high, low]), GroupIndex(group as u16), meter as u32),
        _ => return update_at_anew(vm, group, key, kind, meter, value),
    };
    if !is_known(vm, word, value) {
        update_at_anew(vm, group, key, kind, meter, value);
    }
}

/// Counts a key that is not known. Apart from [`update_counter_at`], which calls nothing else: so what its registers hold need
/// not be kept elsewhere meanwhile.
#[inline(never)]
fn update_at_anew(vm: &VmContext, group: i32, key: &[u8], kind: i32, meter: i32, value: f64) {
    match (kind, key) {
        (1, &[a, b, c, d]) => update_host_anew(vm, group, [a, b, c, d], meter, value),
        (3, &[high, low]) => update_port_anew(vm, group, u16::from_be_bytes([high, low]), meter, value),
        (2, _) if key.len() == 16 => update_binary(vm, group, KeyKind::Host6, key, meter, value),
        (4, _) if key.len() == 6 => update_binary(vm, group, KeyKind::Mac, key, meter, value),
        _ => update(vm, group, key, meter, value),
    }
}

#[inline]
fn update_host(vm: &VmContext, group: i32, address: [u8; 4], meter: i32, value: f64) {
    if !is_known(vm, WordKey::host(address, GroupIndex(group as u16), meter as u32), value) {
        update_host_anew(vm, group, address, meter, value);
    }
}

#[inline]
fn update_port(vm: &VmContext, group: i32, port: u16, meter: i32, value: f64) {
    if !is_known(vm, WordKey::port(port, GroupIndex(group as u16), meter as u32), value) {
        update_port_anew(vm, group, port, meter, value);
    }
}

fn update_host_anew(vm: &VmContext, group: i32, address: [u8; 4], meter: i32, value: f64) {
    let key = WordKey::host(address, GroupIndex(group as u16), meter as u32);
    if !may_wait(vm, key, value) {
        update_binary(vm, group, KeyKind::Host4, &address, meter, value);
    }
}

fn update_port_anew(vm: &VmContext, group: i32, port: u16, meter: i32, value: f64) {
    let key = WordKey::port(port, GroupIndex(group as u16), meter as u32);
    if !may_wait(vm, key, value) {
        update_binary(vm, group, KeyKind::Port, &port.to_be_bytes(), meter, value);
    }
}

/// Counts a key that came lately. False if it is to be counted in another way.
#[inline(always)]
fn is_known(vm: &VmContext, key: WordKey, value: f64) -> bool {
    vm.key_cells.are_used() && vm.key_cells.add(key, value, vm.generation.number())
}

/// Has a key wait that is not known and likely to come again soon. False if it has to be counted in the usual way.
#[inline]
fn may_wait(vm: &VmContext, key: WordKey, value: f64) -> bool {
    if !vm.key_cells.are_used() {
        return false;
    }
    let Some(mut shard) = shard(vm) else { return true };
    vm.key_cells.wait(key, value, vm.generation.number(), &mut shard)
}

/// The bytes stay where they are: padding them into an array that is read as two words makes the load wait for the
/// stores, which cost more than the rest of the call.
#[inline]
fn update_binary(vm: &VmContext, group: i32, kind: KeyKind, bytes: &[u8], meter: i32, value: f64) {
    let Some(mut shard) = shard_to_write(vm) else { return };
    let group = GroupIndex(group as u16);
    let outcome = shard.update_binary(group, kind, bytes, meter as u32, value);
    drop(shard);
    if outcome != Outcome::Counted {
        refused(vm, group, meter, outcome);
    }
}

extern "C" fn update_counter_end(vm: *const VmContext, group: i32, which: i32, meter: i32, value: f64) {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return };
    let Some(index) = vm.current_packet() else { return bump(&vm.engine.oddities.no_packet) };
    let end = if which & 1 == 0 { End::A } else { End::Z };
    let asks_for_port = which > 1;
    if !asks_for_port && let Some((address, _)) = vm.engine.frequent_end(index, end) {
        return update_host(vm, group, address, meter, value);
    }
    match vm.engine.flow_end(index, end) {
        Some((_, port)) if asks_for_port => update_port(vm, group, port, meter, value),
        Some((Host::V4(address), _)) => update_host(vm, group, address, meter, value),
        Some((Host::V6(bytes), _)) => update_binary(vm, group, KeyKind::Host6, &bytes, meter, value),
        None => {}
    }
}

/// Writes the flow id of the current packet; the buffer holds at least 256 bytes. Returns its length.
extern "C" fn flow_id(vm: *const VmContext, out: *mut c_char) -> i32 {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return 0 };
    let Some(index) = vm.current_packet() else { return 0 };
    let Some(tuple) = vm.engine.flow_tuple(index) else { return 0 };
    write_id(&tuple, out)
}

/// Writes the id of a flow of the table; the buffer holds at least 256 bytes. Returns its length, 0 if it is gone.
extern "C" fn flow_name(vm: *const VmContext, slot: i32, generation: u32, out: *mut c_char) -> i32 {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return 0 };
    let Ok(flows) = vm.engine.flows.try_borrow() else { return 0 };
    let handle = FlowHandle { slot: slot as u32, generation };
    flows.as_ref().and_then(|flows| flows.flow(handle)).map_or(0, |flow| write_id(&flow.tuple, out))
}

/// Writes a part of a flow id; the buffer holds at least 256 bytes. Returns its length.
extern "C" fn flow_field(text: *const u8, len: u32, index: i32, out: *mut c_char) -> i32 {
    // SAFETY: objects.lua passes a Lua string with its length.
    let text = unsafe { bytes(text, len) };
    let mut length = 0;
    flow_fields::flow_field(text, index as usize, |part| length = write_text(part, out));
    length
}

/// Tells the ends of the flow of the current packet; returns 0 if words do not suffice for them, or there is no packet.
extern "C" fn flow_ends(vm: *const VmContext, out: *mut FlowEnds) -> i32 {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return 0 };
    let tuple = vm.current_packet().and_then(|index| vm.engine.flow_tuple(index));
    let ends = FlowEnds::of(tuple.as_ref());
    if !ends.are_known() || out.is_null() {
        return 0;
    }
    // SAFETY: objects.lua passes a struct of its own, which has this layout.
    unsafe { out.write(ends) };
    1
}

/// Writes a part of the id of a flow given by words, or all of it for an index below 0; the buffer holds at least 256 bytes.
/// Returns its length.
extern "C" fn flow_part(a: u32, z: u32, ports: u32, protocol: u32, index: i32, out: *mut c_char) -> i32 {
    let id = FlowTuple::from_v4_words([a, z, ports, protocol]).id();
    let Ok(index) = usize::try_from(index) else { return write_text(id.as_bytes(), out) };
    let mut length = 0;
    flow_fields::flow_field(id.as_bytes(), index, |part| length = write_text(part, out));
    length
}

extern "C" fn disable_reassembly(vm: *const VmContext, flow: *const u8, len: u32) {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return };
    // SAFETY: engine.lua passes a Lua string with its length.
    let flow = unsafe { bytes(flow, len) };
    // Nothing may unwind into Lua; a panic has been reported by then.
    let _ = panic::catch_unwind(AssertUnwindSafe(|| vm.disable_reassembly(flow)));
}

/// As [`disable_reassembly`], for a flow given by words.
extern "C" fn disable_reassembly_of(vm: *const VmContext, a: u32, z: u32, ports: u32, protocol: u32) {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return };
    let tuple = FlowTuple::from_v4_words([a, z, ports, protocol]);
    // Nothing may unwind into Lua; a panic has been reported by then.
    let _ = panic::catch_unwind(AssertUnwindSafe(|| vm.disable_reassembly_of(&tuple)));
}

fn write_id(tuple: &FlowTuple, out: *mut c_char) -> i32 {
    write_text(tuple.id().as_bytes(), out)
}

fn write_text(text: &[u8], out: *mut c_char) -> i32 {
    if out.is_null() || text.len() > 256 {
        return 0;
    }
    // SAFETY: objects.lua passes its scratch buffer of 256 bytes, and the text is no longer than that.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr().cast(), out, text.len()) };
    text.len() as i32
}

/// Fills the slot of the current packet.
extern "C" fn fill_packet(vm: *const VmContext) {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return };
    let Some(index) = vm.current_packet() else { return };
    let (Ok(batch), Ok(mut loans)) = (vm.engine.batch.try_borrow(), vm.engine.loans.try_borrow_mut()) else { return };
    loans.packet(&batch, index);
}

extern "C" fn layer_at(vm: *const VmContext, index: i32) -> *const LayerSlot {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return ptr::null() };
    let is_there = |batch: &Batch, packet: &Packet, place: &usize| *place < batch.layers(packet).len();
    lend_layer(vm, |batch, packet| usize::try_from(index).ok().filter(|place| is_there(batch, packet, place)))
}

extern "C" fn find_layer(vm: *const VmContext, protocol: i32) -> *const LayerSlot {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let Some(vm) = (unsafe { context(vm) }) else { return ptr::null() };
    let protocol = u16::try_from(protocol).ok().map(ProtocolId);
    lend_layer(vm, |batch, packet| batch.find_place(packet, protocol?))
}

/// Lends the layer of the current packet whose place is found; null if there is none.
fn lend_layer(vm: &VmContext, place_in: impl FnOnce(&Batch, &Packet) -> Option<usize>) -> *const LayerSlot {
    let Some(index) = vm.current_packet() else { return ptr::null() };
    let Ok(batch) = vm.engine.batch.try_borrow() else { return ptr::null() };
    let Some(packet) = batch.packets().get(index) else { return ptr::null() };
    let Some(place) = place_in(&batch, packet) else { return ptr::null() };
    let Ok(mut loans) = vm.engine.loans.try_borrow_mut() else { return ptr::null() };
    loans.lend_layer(&batch, index, place)
}

/// How many protocols handlers have named so far that nobody defines.
extern "C" fn named_protocols(vm: *const VmContext) -> i32 {
    // SAFETY: objects.lua passes the address it was given for this VM.
    let vm = unsafe { context(vm) };
    vm.map_or(0, |vm| vm.engine.protocols.named_count() as i32)
}
