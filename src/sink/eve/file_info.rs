//! Events of files that went by.

use data_encoding::HEXLOWER;

use super::json::{Object, Truth};
use crate::metrics::{Extent, HttpBodyEnd, SeenFile};

/// The object for a body of HTTP.
pub(super) fn of_body(name: &[u8], end: HttpBodyEnd, place: u64, object: &mut Object<'_>) {
    object.object("fileinfo", |object| {
        object.text("filename", name);
        object.flag("gaps", (end.extent == Extent::Gaps).into());
        object.text("state", if end.extent == Extent::Whole { b"CLOSED" } else { b"TRUNCATED" });
        object.flag("stored", Truth::No);
        object.count("size", end.length);
        object.count("tx_id", place);
    });
}

/// The object for a file that was hashed, of which everything was seen.
pub(super) fn of_file(file: &SeenFile, name: &[u8], object: &mut Object<'_>) {
    object.object("fileinfo", |object| {
        object.text("filename", name);
        object.flag("gaps", Truth::No);
        object.text("state", b"CLOSED");
        object.text("md5", HEXLOWER.encode(&file.md5).as_bytes());
        object.flag("stored", Truth::No);
        object.count("size", file.length);
        object.count("tx_id", file.place);
    });
}
