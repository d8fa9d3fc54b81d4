//! The control socket: one JSON request a line, one JSON answer a line, over a Unix socket only its owner may open.
//!
//! `table.rs` is the list of requests, to which any part of the program adds its own; `server.rs` listens on a thread of its
//! own, with one more for each client; `client.rs` is the side of the command line, `place.rs` says where sockets lie. Clients
//! are limited in number, size and time, and nothing they send reaches packet threads but through what a request's function
//! does. `docs/running.md` describes the protocol.

mod calls;
mod client;
mod command;
mod jobs;
mod place;
mod server;
mod table;

pub use calls::call;
pub use command::{ask, lines, send, stop};
pub use jobs::jobs;
pub use place::default_socket;
pub use server::{Bound, Server};
pub use table::Requests;
