//! What became of contents, by name.

/// Counters of one engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentCounts {
    /// Files and chunks handed on.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Files that miss their end because there was no room or the system refused a write.
    pub files_cut: u64,
    /// Files of which nothing could be written.
    pub files_not_written: u64,
    /// Bytes that are missing in files.
    pub bytes_not_written: u64,
    /// Requests and responses that were not followed because too many were open.
    pub exchanges_refused: u64,
    /// Open requests forgotten because their flow had too many.
    pub exchanges_forgotten: u64,
    /// Headers that later callbacks see empty because too many bytes of headers were kept.
    pub headers_dropped: u64,
    /// Bytes that came before a protocol was recognised and were not kept because too many were.
    pub raw_bytes_dropped: u64,
}

impl ContentCounts {
    /// What was done, each with the name it has in outputs.
    #[must_use]
    pub fn done(&self) -> [(&'static str, u64); 2] {
        [("files_extracted", self.files), ("file_bytes_extracted", self.bytes)]
    }

    /// What limits cut off, each with the name it has in outputs.
    #[must_use]
    pub fn drops(&self) -> [(&'static str, u64); 7] {
        [
            ("files_cut", self.files_cut),
            ("files_not_written", self.files_not_written),
            ("file_bytes_not_written", self.bytes_not_written),
            ("http_exchanges_refused", self.exchanges_refused),
            ("http_exchanges_forgotten", self.exchanges_forgotten),
            ("http_headers_dropped", self.headers_dropped),
            ("http_raw_bytes_dropped", self.raw_bytes_dropped),
        ]
    }

    /// Adds those of another part.
    pub fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.files_cut += other.files_cut;
        self.files_not_written += other.files_not_written;
        self.bytes_not_written += other.bytes_not_written;
        self.exchanges_refused += other.exchanges_refused;
        self.exchanges_forgotten += other.exchanges_forgotten;
        self.headers_dropped += other.headers_dropped;
        self.raw_bytes_dropped += other.raw_bytes_dropped;
    }
}
