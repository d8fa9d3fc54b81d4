//! The text of certificates against that of openssl 3.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod dissect_support;

use std::path::Path;
use std::process::Command;

use dissect_support::{output_of, shared_captures};
use millstream::dissect::x509::{Certificate, write_text};

/// Every extension that authorities use, and some that they do not.
const SETTINGS: &str = r##"
[req]
distinguished_name = dn
prompt = no
[dn]
C = DE
O = "Größe, Maß + Co."
OU = "#1 <unit>; \\ \"best\""
CN = host.example
emailAddress = a@b.example
[all]
basicConstraints = critical,CA:TRUE,pathlen:3
keyUsage = critical,digitalSignature,nonRepudiation,keyEncipherment,dataEncipherment,keyAgreement,keyCertSign,cRLSign,encipherOnly,decipherOnly
extendedKeyUsage = serverAuth,clientAuth,codeSigning,emailProtection,timeStamping,OCSPSigning,ipsecIKE,1.2.3.4
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer:always
subjectAltName = DNS:a.example,IP:1.2.3.4,IP:2001:db8::1,email:x@y.example,URI:http://u/,RID:1.2.3.4,dirName:dir,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:upn@x,otherName:1.2.3.4;UTF8:foo
issuerAltName = DNS:b
crlDistributionPoints = plain,relative
certificatePolicies = 1.2.3.4,@policy
nameConstraints = permitted;DNS:.x.y,excluded;IP:10.0.0.0/255.0.0.0,permitted;email:foo
policyConstraints = requireExplicitPolicy:3,inhibitPolicyMapping:1
policyMappings = 1.2.3:1.2.4,1.2.5:1.2.6
inhibitAnyPolicy = 2
nsCertType = client,server,email,objsign,reserved,sslCA,emailCA,objCA
nsComment = "hello"
nsBaseUrl = http://x
tlsfeature = status_request,status_request_v2,77
authorityInfoAccess = OCSP;URI:http://o/,caIssuers;URI:http://c/,1.2.3.4;DNS:z
subjectInfoAccess = caRepository;URI:http://z
noCheck = ignored
1.2.3.4.5 = DER:0c03666f6f
[small]
basicConstraints = CA:FALSE
keyUsage = digitalSignature
subjectAltName = DNS:one.example
[plain]
fullname = URI:http://a,DNS:q
[relative]
relativename = rel
[rel]
CN = foo
[dir]
C = UK
O = Org X
[policy]
policyIdentifier = 1.3.5.8
CPS.1 = http://cps/
userNotice.1 = @notice
[notice]
explicitText = Explicit text here
organization = Org
noticeNumbers = 1,2,3
"##;

/// Kinds of keys and signatures: a name, and what `openssl req` is told.
const MADE: [(&str, &[&str]); 7] = [
    ("p256", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-extensions", "all", "-set_serial", "5"]),
    ("p521", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1", "-extensions", "small", "-sha384"]),
    ("k256", &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1", "-extensions", "small"]),
    ("ed25519", &["-newkey", "ed25519", "-set_serial", "-5", "-days", "20000", "-extensions", "small"]),
    ("ed448", &["-newkey", "ed448", "-set_serial", "-0x112233445566778899aa", "-extensions", "small"]),
    (
        "pss",
        &[
            "-newkey",
            "rsa-pss",
            "-pkeyopt",
            "rsa_keygen_bits:1024",
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            "rsa_pss_saltlen:32",
            "-extensions",
            "small",
        ],
    ),
    ("rsa", &["-newkey", "rsa:1024", "-sha512", "-extensions", "small", "-multivalue-rdn", "-subj", "/CN=x/OU=a+L=b"]),
];

/// Extensions whose contents are printed as they are: openssl keeps line ends in them and a control character or two, we
/// keep none.
fn is_opaque(heading: &str) -> bool {
    let name = heading.trim_start();
    name.starts_with(|c: char| c.is_ascii_digit())
        || name.starts_with("qcStatements")
        || name.starts_with("X509v3 Subject Directory")
}

/// Lines without what may differ: blanks at their ends, empty lines, blanks around the equals signs of names (those came
/// and went between the versions of openssl), the contents of extensions nobody can read.
fn normal(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut opaque = false;
    let mut previous = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if opaque && (indent == 12 || line.starts_with("    Signature Algorithm")) {
            opaque = false;
        }
        let mut line = line.trim_end().to_owned();
        if line.is_empty() || opaque {
            continue;
        }
        let start = line.trim_start();
        if ["Issuer:", "Subject:", "DirName:"].iter().any(|word| start.starts_with(word))
            || previous.ends_with("Relative Name:")
        {
            line = line.replace(" = ", "=");
        }
        opaque = indent == 12 && is_opaque(&line);
        previous.clone_from(&line);
        out.push(line);
    }
    out
}

fn of_openssl(file: &Path, form: &str) -> Option<String> {
    output_of("openssl", &["x509", "-inform", form, "-in", file.to_str().unwrap(), "-noout", "-text"])
}

fn ours(der: &[u8]) -> String {
    let mut out = Vec::new();
    write_text(&mut out, &Certificate::parse(der).expect("a certificate"));
    String::from_utf8(out).expect("printable text")
}

/// What differs, line by line.
fn compare(name: &str, der: &[u8], theirs: &str) -> Option<String> {
    let (ours, theirs) = (normal(&ours(der)), normal(theirs));
    if ours == theirs {
        return None;
    }
    let at = ours.iter().zip(&theirs).position(|(a, b)| a != b).unwrap_or(ours.len().min(theirs.len()));
    Some(format!("{name}, line {at}:\n ours    {:?}\n openssl {:?}", ours.get(at), theirs.get(at)))
}

#[test]
fn keys_of_dsa_read_as_openssl_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("settings"), SETTINGS).unwrap();
    let kind = "dsa_paramgen_bits:1024";
    let parameters = ["genpkey", "-genparam", "-algorithm", "DSA", "-pkeyopt", kind, "-out", &at("parameters")];
    if output_of("openssl", &parameters).is_none() {
        return;
    }
    let mut failures = Vec::new();
    for (name, digest, section) in [("sha1", "-sha1", "small"), ("sha256", "-sha256", "all")] {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-utf8", "-nodes", "-outform", "DER", "-config", &at("settings"), digest])
            .args(["-newkey", &format!("param:{}", at("parameters")), "-extensions", section])
            .args(["-keyout", &at("key"), "-out", &at(name)])
            .output()
            .unwrap();
        assert!(made.status.success(), "{name}: {}", String::from_utf8_lossy(&made.stderr));
        let theirs = of_openssl(Path::new(&at(name)), "DER").unwrap();
        assert!(theirs.contains("dsaEncryption"), "{theirs}");
        failures.extend(compare(name, &std::fs::read(at(name)).unwrap(), &theirs));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn made_certificates_read_as_openssl_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings");
    std::fs::write(&settings, SETTINGS).unwrap();
    let mut failures = Vec::new();
    for (name, arguments) in MADE {
        let (key, file) = (folder.path().join("key"), folder.path().join(format!("{name}.der")));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-utf8", "-nodes", "-outform", "DER", "-config", settings.to_str().unwrap()])
            .args(["-keyout", key.to_str().unwrap(), "-out", file.to_str().unwrap()])
            .args(arguments)
            .output();
        let Ok(made) = made else {
            eprintln!("skipped: openssl cannot be run");
            return;
        };
        assert!(made.status.success(), "{name}: {}", String::from_utf8_lossy(&made.stderr));
        let theirs = of_openssl(&file, "DER").unwrap();
        failures.extend(compare(name, &std::fs::read(&file).unwrap(), &theirs));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Certificates of captures, by what tshark finds.
#[test]
fn certificates_of_captures_read_as_openssl_reads_them() {
    let Some(shared) = shared_captures() else { return };
    let captures = [
        "s-bug-7264-tcp-3whs-ack-data-tls-01.pcap",
        "s-ethernet-eve__test.pcap",
        "s-ldap-starttls.pcap",
        "s-ssl_version_negated.pcap",
        "s-tls__tls-cert-issuer__tls.pcap",
        "s-tls__tls-client-hello-frag-01__dump_mtu300.pcap",
        "s-tls__tls-issuer-zero.pcap",
        "s-tls__tls-random-6989.pcap",
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    let mut compared = 0;
    for name in captures {
        let path = shared.join("good").join(name);
        let field = "tls.handshake.certificate";
        let Some(text) = output_of("tshark", &["-r", path.to_str().unwrap(), "-Y", field, "-T", "fields", "-e", field])
        else {
            return;
        };
        for hex in text.split([',', '\n']).filter(|hex| !hex.is_empty()) {
            let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
            let der: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
            let file = folder.path().join("one.der");
            std::fs::write(&file, &der).unwrap();
            let Some(theirs) = of_openssl(&file, "DER") else { return };
            failures.extend(compare(name, &der, &theirs));
            compared += 1;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(compared >= 12, "{compared}");
}

/// Further certificates, in PEM files of the folder that `X509_FOLDER` names.
#[test]
fn named_certificates_read_as_openssl_reads_them() {
    let Ok(folder) = std::env::var("X509_FOLDER") else {
        eprintln!("skipped: X509_FOLDER names no folder of certificates");
        return;
    };
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let der = Command::new("openssl").args(["x509", "-outform", "DER", "-in"]).arg(&file).output().unwrap().stdout;
        if der.is_empty() {
            continue;
        }
        let Some(theirs) = of_openssl(&file, "PEM") else { return };
        failures.extend(compare(file.to_str().unwrap(), &der, &theirs));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
