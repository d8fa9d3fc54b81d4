//! Alerts.

use super::ledger::Texts;
use crate::guid::Guid;
use crate::time::Timestamp;

/// Which call or input raised an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKind {
    /// `add_alert`.
    Simple,
    /// `add_alert_full`.
    Full,
    /// `add_alert_tca`.
    Threshold,
    /// An external detection system.
    Ids,
}

impl AlertKind {
    /// Its name in outputs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Full => "full",
            Self::Threshold => "tca",
            Self::Ids => "ids",
        }
    }
}

/// What an external detection system knows besides.
#[derive(Clone, Debug, PartialEq)]
pub struct IdsFields {
    /// Source address, readable.
    pub source_ip: Vec<u8>,
    /// Source port.
    pub source_port: Vec<u8>,
    /// Destination address, readable.
    pub destination_ip: Vec<u8>,
    /// Destination port.
    pub destination_port: Vec<u8>,
    /// Protocol.
    pub protocol: Vec<u8>,
    /// Revision of the signature.
    pub sig_rev: Vec<u8>,
}

/// An event with a signature id, a priority and a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// When.
    pub time: Timestamp,
    /// Alert group.
    pub group: Guid,
    /// Flow concerned.
    pub flow: Option<Vec<u8>>,
    /// Signature id.
    pub sigid: Vec<u8>,
    /// 1 high, 2 medium, 3 low, or a scale of its own.
    pub priority: f64,
    /// Message.
    pub message: Vec<u8>,
    /// Classification.
    pub classification: Vec<u8>,
    /// Status word.
    pub status: Vec<u8>,
    /// Details beside the message.
    pub extra: Vec<u8>,
    /// 1 if somebody has acknowledged it, else 0.
    pub ack: u8,
    /// Which call made it.
    pub kind: AlertKind,
    /// For [`AlertKind::Ids`].
    pub ids: Option<Box<IdsFields>>,
}

impl Alert {
    /// Status of an alert that gives none.
    pub const DEFAULT_STATUS: &'static [u8] = b"ALARM";
}

impl Texts for Alert {
    fn bytes(&self) -> usize {
        let flow = self.flow.as_ref().map_or(0, Vec::len);
        let texts = [&self.sigid, &self.message, &self.classification, &self.status, &self.extra];
        flow + texts.into_iter().map(Vec::len).sum::<usize>()
    }
}
