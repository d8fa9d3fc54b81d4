//! One try to deliver.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::rules::{AllowedHost, allows_address, allows_host};
use super::worker::WebhookOptions;

/// Bounds of one try, and how often it is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookLimits {
    /// Time to connect.
    pub connect: Duration,
    /// Time for everything.
    pub whole: Duration,
    /// Bytes of an answer that are read.
    pub answer: u64,
    /// Pauses between tries; there is one try more than pauses.
    pub pauses: Vec<Duration>,
    /// Time that is left for all when the run is over, a try under way included.
    pub at_end: Duration,
    /// The same when the run was asked to end; what still connects then takes longer.
    pub in_haste: Duration,
}

impl Default for HookLimits {
    /// 3 s to connect, 10 s in all, 64 KiB read, five tries over five minutes, 10 s at the end, 2 s in haste.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            whole: Duration::from_secs(10),
            answer: 64 << 10,
            pauses: [1, 9, 60, 230].map(Duration::from_secs).to_vec(),
            at_end: Duration::from_secs(10),
            in_haste: Duration::from_secs(2),
        }
    }
}

/// Why an address of the web cannot be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookUrlError {
    /// It is none.
    #[error("'{url}' is no address such as http://host:8080/path")]
    Unreadable {
        /// The text.
        url: String,
    },
    /// Another protocol.
    #[error("'{url}': only http and https are spoken")]
    Protocol {
        /// The text.
        url: String,
    },
    /// Not among the hosts that may be called.
    #[error("'{host}' may not be called; allow it with --webhook-allow {host}")]
    NotAllowed {
        /// The host.
        host: String,
    },
    /// The file of certificates cannot be used.
    #[error("{}: {why}; it has to hold certificates in PEM form", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The host of an address that can be called.
///
/// # Errors
/// When it is none of http or https.
pub fn host_of(url: &str) -> Result<String, HookUrlError> {
    let unreadable = || HookUrlError::Unreadable { url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| unreadable())?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(_) => return Err(HookUrlError::Protocol { url: url.to_owned() }),
        None => return Err(unreadable()),
    }
    uri.host().filter(|host| !host.is_empty()).map(str::to_owned).ok_or_else(unreadable)
}

/// What became of a try.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// The other side has it.
    Delivered,
    /// It does not want it, or the rules forbid to ask.
    Refused(String),
    /// It may want it later.
    Failed(String),
}

/// Resolves names and lets nothing through that the rules forbid. What is connected to is what was checked.
#[derive(Debug)]
struct Checked {
    allowed: Vec<AllowedHost>,
    resolver: DefaultResolver,
    /// Nobody is called any more.
    is_cut: Arc<AtomicBool>,
}

/// How a refusal by the rules reaches the caller.
const FORBIDDEN: &str = "the name leads to an address that may not be called";

impl Resolver for Checked {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        if self.is_cut.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        let allows = |address: &SocketAddr| allows_address(&self.allowed, address.ip());
        // One bad address among good ones is a trap, or a mistake nobody should build on.
        if !found.iter().all(allows) {
            return Err(Error::BadUri(FORBIDDEN.to_owned()));
        }
        Ok(found)
    }
}

/// The certificates in a file.
fn certificates(path: &Path) -> Result<RootCerts, HookUrlError> {
    let wrong = |why: String| HookUrlError::Certificates { path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let mut found: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| wrong(e.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(wrong("no certificate in it".to_owned())) } else { Ok(RootCerts::from(found)) }
}

/// Delivers to one address of the web.
#[derive(Debug)]
pub(super) struct Hook {
    agent: Agent,
    url: String,
    limits: HookLimits,
    is_cut: Arc<AtomicBool>,
}

/// Ends the try under way, and lets none begin.
#[derive(Debug)]
pub(super) struct Cut {
    agent: Agent,
    is_cut: Arc<AtomicBool>,
}

impl Cut {
    /// Does so. A name that is looked up, or a connection that is made, is waited for, and fails then.
    pub fn now(self) {
        self.is_cut.store(true, Ordering::Relaxed);
        self.agent.shutdown();
    }
}

impl Hook {
    /// Checks what can be checked before the first alert.
    pub fn new(options: WebhookOptions) -> Result<Self, HookUrlError> {
        let WebhookOptions { url, allowed, trusted, limits, haste: _ } = options;
        let host = host_of(&url)?;
        if !allows_host(&allowed, &host) {
            return Err(HookUrlError::NotAllowed { host });
        }
        let roots = trusted.as_deref().map_or(Ok(RootCerts::PlatformVerifier), certificates)?;
        let config = Agent::config_builder()
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .http_status_as_error(false)
            .max_redirects(0)
            // Nothing may come between: the addresses that were checked are those that are called.
            .proxy(None)
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_global(Some(limits.whole))
            .max_idle_connections(0)
            .user_agent("millstream")
            .build();
        let is_cut: Arc<AtomicBool> = Arc::default();
        let resolver = Checked { allowed, resolver: DefaultResolver::default(), is_cut: Arc::clone(&is_cut) };
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Ok(Self { agent, url, limits, is_cut })
    }

    /// What ends its tries from another thread.
    pub fn cut(&self) -> Cut {
        Cut { agent: self.agent.clone(), is_cut: Arc::clone(&self.is_cut) }
    }

    pub const fn limits(&self) -> &HookLimits {
        &self.limits
    }

    /// Tries once, in no more than the time given.
    pub fn deliver(&self, body: &[u8], time: Duration) -> Tried {
        let request = self.agent.post(&self.url).config().timeout_global(Some(time.min(self.limits.whole))).build();
        let mut response = match request.content_type("application/json").send(body) {
            Ok(response) => response,
            Err(Error::BadUri(why)) => return Tried::Refused(why),
            Err(e) => return Tried::Failed(e.to_string()),
        };
        // Read, so that the other side does not see its answer cut off; what it says is of no interest.
        let mut answer = response.body_mut().as_reader().take(self.limits.answer);
        let _ = std::io::copy(&mut answer, &mut std::io::sink());
        let status = response.status().as_u16();
        match status {
            200..=299 => Tried::Delivered,
            300..=399 => Tried::Refused(format!("answer {status}: redirects are not followed")),
            408 | 425 | 429 | 500.. => Tried::Failed(format!("answer {status}")),
            _ => Tried::Refused(format!("answer {status}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hook, HookLimits, HookUrlError, Tried, WebhookOptions};
    use crate::sink::Haste;
    use std::time::Duration;

    fn options(url: &str, allowed: &[&str]) -> WebhookOptions {
        let allowed = allowed.iter().map(|host| host.parse().unwrap()).collect();
        let (limits, haste) = (HookLimits::default(), Haste::default());
        WebhookOptions { url: url.to_owned(), allowed, trusted: None, limits, haste }
    }

    #[test]
    fn only_allowed_hosts_over_http_and_https_are_accepted() {
        let new = |url: &str| Hook::new(options(url, &["127.0.0.1", "localhost"])).map(|_| ());
        assert_eq!(new("http://127.0.0.1:1/x"), Ok(()));
        assert_eq!(new("https://127.0.0.1/"), Ok(()));
        assert!(matches!(new("ftp://127.0.0.1/"), Err(HookUrlError::Protocol { .. })));
        assert!(matches!(new("127.0.0.1"), Err(HookUrlError::Unreadable { .. })));
        assert!(matches!(new("http://10.0.0.1/"), Err(HookUrlError::NotAllowed { .. })));
        assert!(matches!(new("http://127.0.0.1.example.org/"), Err(HookUrlError::NotAllowed { .. })));
    }

    #[test]
    fn a_name_that_leads_inside_is_refused_before_connecting() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        let hook = Hook::new(options(&url, &["localhost"])).unwrap();
        let tried = hook.deliver(b"{}", Duration::from_secs(5));
        assert!(matches!(tried, Tried::Refused(_)), "{tried:?}");
        assert!(listener.accept().is_err(), "nobody may have connected");
    }
}
