//! Builds small captures packet by packet: correct headers and checksums, complete conversations, fixed seed, no clock.
//!
//! Each capture shows one thing, named by its file name; `demo.pcap` mixes them into a minute and a half of office
//! traffic. Addresses are private or reserved for documentation, names end in `example` domains.

mod captures;
mod compress;
mod container;
mod conversation;
mod demo;
mod dhcp;
mod disorder;
mod dns;
mod fragments;
mod http;
mod incidents;
mod interfaces;
mod mail;
mod random;
mod scan;
mod ssh;
mod tls;
mod transfer;
mod tunnels;
mod wire;

pub use captures::captures;
