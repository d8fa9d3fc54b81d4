//! A network of a test's own, and captures in it.
#![expect(unsafe_code, reason = "namespaces of a thread have no safe wrapper")]

use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::e2e::{Place, Running, say};

const ETHERNET: &str = "{974FB098-DE46-45DB-94DA-8D64A3BBCDE5}";

/// Runs `ip`; whether that went well.
pub fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).status().is_ok_and(|status| status.success())
}

/// Runs a test on a thread of its own in a new network namespace with the pair of interfaces `here` and `there`, which
/// goes away with the thread. What the thread starts is in the same namespace.
pub fn in_namespace(test: impl FnOnce() + Send + 'static) {
    let runner = thread::spawn(move || {
        // SAFETY: the call changes nothing but the namespace of this thread.
        let entered = unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0;
        if !entered || !ip("link add here type veth peer name there") {
            say("skipped: needs root and iproute2 to make a network namespace");
            return;
        }
        for name in ["here", "there"] {
            assert!(ip(&format!("link set {name} addrgenmode none")));
            assert!(ip(&format!("link set {name} up")));
        }
        test();
    });
    if let Err(panic) = runner.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Starts a capture and waits until the interface is being read: probe packets of another type arrive then.
pub fn capturing(place: Place, arguments: &[&str]) -> (Place, Running) {
    let place = place.counter("ready.lua", ETHERNET, "", "if layer:getbyte(12) == 0x88 then print('ready') end");
    let mut running = place.start(arguments);
    let mut sender = pcap::Capture::from_device("there").unwrap().open().unwrap();
    let mut probe = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x88, 0xB5];
    probe.resize(60, 0);
    running.until("the interface is read", |running| {
        sender.sendpacket(&probe[..]).unwrap();
        thread::sleep(Duration::from_millis(20));
        running.said().contains("ready")
    });
    (place, running)
}
