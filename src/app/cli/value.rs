//! Numbers, times, sizes, and texts that mean something, as people type them.

use std::path::PathBuf;
use std::str::FromStr;

use crate::api::t_env::ConfigPaths;
use crate::builtin::BuiltinSettings;
use crate::capture::{Filter, FilterFault};
use crate::key::HomeNets;
use crate::metrics::Registry;
use crate::packet::LinkType;
use crate::sink::webhook::host_of;

/// A number above zero.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above zero is needed, such as 1 or 2.5".to_owned()),
    }
}

/// A whole number above zero.
pub(super) fn whole<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, String> {
    match text.parse() {
        Ok(number) if number > T::default() => Ok(number),
        _ => Err("a whole number above zero is needed, such as 1000".to_owned()),
    }
}

/// A time above zero.
pub(super) fn interval(text: &str) -> Result<std::time::Duration, String> {
    match duration(text) {
        Ok(time) if time.is_zero() => Err("a time above zero is needed, such as 10s".to_owned()),
        other => other,
    }
}

/// A size such as `500k`, `64m`, `10g`; a number alone is bytes. At least 64 KiB, or a file would hold hardly a packet.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const NEEDED: &str = "a size of at least 64k such as 500m or 10g is needed";
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let shift = match text[split..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(NEEDED.to_owned()),
    };
    let bytes = text[..split].parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes >= 64 << 10).ok_or_else(|| NEEDED.to_owned())
}

/// A time such as `90`, `90s`, `500ms`, `5m`, `2h`, `7d`.
pub(super) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("a time such as 90, 90s, 500ms, 5m, 2h or 7d is needed".to_owned()),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number >= 0.0 && number * scale < 1e12 => Ok(std::time::Duration::from_secs_f64(number * scale)),
        _ => Err("a time such as 90, 90s, 500ms, 5m, 2h or 7d is needed".to_owned()),
    }
}

/// Any text as a path, an empty one too.
pub(super) fn any_path(text: &str) -> Result<PathBuf, std::convert::Infallible> {
    Ok(PathBuf::from(text))
}

/// A value by path, such as `App>DBRoot=/some/dir`.
pub(super) fn setting(text: &str) -> Result<String, String> {
    ConfigPaths::default().apply(text).map(|()| text.to_owned()).map_err(|e| e.to_string())
}

/// Networks.
pub(super) fn networks(text: &str) -> Result<String, String> {
    text.parse::<HomeNets>().map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// A group that is counted natively, or a word for several of them.
pub(super) fn native_group(text: &str) -> Result<String, String> {
    let settings = BuiltinSettings { on: vec![text.to_owned()], off: Vec::new() };
    settings.resolve(&Registry::new()).map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// An address of the web.
pub(super) fn web_address(text: &str) -> Result<String, String> {
    host_of(text).map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// A capture filter that has a meaning for some link type.
pub(super) fn filter(text: &str) -> Result<String, String> {
    // Some words have a meaning for those of firewall logs, ATM or SS7 only.
    const LINKTYPES: [LinkType; 10] = [
        LinkType::ETHERNET,
        LinkType::LINUX_SLL,
        LinkType::LINUX_SLL2,
        LinkType::RAW,
        LinkType::IEEE802_11,
        LinkType::IEEE802_11_RADIOTAP,
        LinkType::PPP,
        LinkType(117),
        LinkType(123),
        LinkType(140),
    ];
    let mut filter = Filter::new(text);
    let mut first = None;
    for linktype in LINKTYPES {
        match filter.passes(linktype, &[], 0) {
            Ok(_) => return Ok(text.to_owned()),
            Err(e) => {
                first.get_or_insert(e.message);
                if e.kind == FilterFault::Expression {
                    break;
                }
            }
        }
    }
    let message = first.unwrap_or_default();
    Err(format!("this does not compile: {message}; the syntax is in man pcap-filter"))
}

#[cfg(test)]
mod tests {
    use super::{duration, filter, native_group, networks, setting, web_address};
    use std::time::Duration;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("-1").is_err());
        assert!(duration("5 parsecs").is_err());
    }

    #[test]
    fn texts_that_mean_nothing_are_refused() {
        for good in ["", "tcp port 80", "wlan type mgt", "inbound", "action pass", "vpi 3", "fisu"] {
            assert_eq!(filter(good).as_deref(), Ok(good));
        }
        let said = filter("tcp prt 80").unwrap_err();
        assert!(said.contains("does not compile") && said.contains("man pcap-filter"), "{said}");
        assert_eq!(setting("App>DBRoot=/a=b").as_deref(), Ok("App>DBRoot=/a=b"));
        assert!(setting("a").is_err() && setting("a>=b").is_err());
        assert_eq!(networks("10.0.0.0/8, fd00::/8").as_deref(), Ok("10.0.0.0/8, fd00::/8"));
        assert!(networks("10.0.0.0/99").is_err());
        assert!(["all", "default", "hosts"].into_iter().all(|name| native_group(name).is_ok()));
        assert!(native_group("nosuch").unwrap_err().contains("there are: all, default, "));
        assert!(web_address("https://host/x").is_ok() && web_address("ftp://x/").is_err());
    }
}
