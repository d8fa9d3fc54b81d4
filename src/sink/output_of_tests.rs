//! Outputs that do what a test wants with the bytes they are given.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// What was written.
pub(super) type Kept = Arc<Mutex<Vec<u8>>>;

/// Calls the function for every write.
pub(super) struct Output<F>(pub F);

impl<F: FnMut(&[u8]) -> io::Result<usize>> Write for Output<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One whose reader is gone.
pub(super) fn closed() -> Box<dyn Write + Send> {
    Box::new(Output(|_: &[u8]| Err(io::ErrorKind::BrokenPipe.into())))
}

/// One that keeps what it is given, and does something before that.
pub(super) fn keeping(mut first: impl FnMut() + Send + 'static) -> (Box<dyn Write + Send>, Kept) {
    let kept = Kept::default();
    let keep = Arc::clone(&kept);
    let output = Output(move |bytes: &[u8]| {
        first();
        keep.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    });
    (Box::new(output), kept)
}
