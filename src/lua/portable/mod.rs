//! Lua functions as plain data: a closure leaves one VM as a [`Portable`] and becomes a function of another VM.
//!
//! A portable is bytecode plus the values of the captured variables. Bytecode is trusted because this program made it: what
//! reads a portable from a file ([`Stored`]) has to vouch for the file, and no wire carries any. [`Packer`] belongs to the VM
//! a function leaves, [`Loader`] to the VM it enters; each stays on its VM's thread, only the [`Portable`] crosses.
//! Invariant: every load gives a new closure with new variables, while the prototype (and with it the machine code that
//! was compiled for it) stays the same for as long as the loader lives.

mod again;
mod code;
mod known;
mod load;
mod octets;
mod pack;
mod recall;
mod stack;
mod stored;
mod value;

pub use code::Code;
pub use load::Loader;
pub use octets::{OctetReader, Octets};
pub use pack::{Packed, Packer};
pub use stored::{Stored, bytecode_mark};
pub use value::{KnownName, PackError, Portable, Warning};
