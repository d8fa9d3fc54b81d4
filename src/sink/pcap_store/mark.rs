//! Short marks of flows and hosts for the index. Two things may share a mark: the index only says where to look.

use crate::key::{FlowTuple, Host, IpVersion};

/// FNV-1a, 32 bits: part of the file format, so it is fixed here rather than taken from a hasher that may change.
fn fnv(tag: u8, parts: &[&[u8]]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    parts.iter().flat_map(|part| part.iter()).fold(step(0x811C_9DC5, &tag), step)
}

/// Mark of a flow.
#[must_use]
pub fn flow_mark(flow: &FlowTuple) -> u32 {
    let version = match flow.version {
        IpVersion::V4 => 4,
        IpVersion::V6 => 6,
    };
    let ports = [flow.port_a.to_be_bytes(), flow.port_z.to_be_bytes()].concat();
    fnv(1, &[&[version, flow.proto], &flow.a, &flow.z, &ports])
}

/// Mark of a host.
#[must_use]
pub fn host_mark(host: &Host) -> u32 {
    match host {
        Host::V4(bytes) => fnv(2, &[bytes]),
        Host::V6(bytes) => fnv(3, &[bytes]),
    }
}

#[cfg(test)]
mod tests {
    use super::{flow_mark, host_mark};
    use crate::key::{FlowTuple, Host};

    #[test]
    fn marks_are_part_of_the_file_format() {
        // Worked out independently of this code.
        let (flow, _) = FlowTuple::v4(6, [192, 168, 1, 2], [209, 216, 249, 58], 2964, 22);
        assert_eq!(flow_mark(&flow), 0x3618_F1F6);
        assert_eq!(host_mark(&Host::V4([10, 0, 0, 1])), 0xC019_D4AC);
        assert_ne!(host_mark(&Host::V4([10, 0, 0, 1])), host_mark(&Host::V4([10, 0, 0, 2])));
    }
}
