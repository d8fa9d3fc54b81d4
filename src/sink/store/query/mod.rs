//! Questions that are asked of a store; each is answered with rows of cells.
//!
//! A reader opens the file for itself, on any thread, while it is written or not. Every question goes through an index:
//! tests hold the query plans. Texts of traffic come out as valid Unicode, otherwise as they are: whoever shows them takes
//! care of what they may do.

mod answer;
mod counters;
mod flows;
mod listed;
mod names;
mod pages;
mod ranges;
mod reader;
mod records;
mod search;
mod series;
mod toppers;

pub use answer::{Answer, Cell, Column};
pub use counters::{KeysQuery, TopQuery, keys, top};
pub use flows::{FlowOrder, flows, tracked};
pub use names::{GroupName, MeterName};
pub use pages::{Contents, PageRange, PageRow, PageValue, Pages};
pub(super) use reader::connect_damaged;
pub use reader::{QueryError, Reader, Span};
pub use records::{RecordsQuery, alerts, documents, edges, jobs, resources, runs};
pub use search::search;
pub use series::{SeriesQuery, series};
pub use toppers::toppers;

#[cfg(test)]
mod tests;
