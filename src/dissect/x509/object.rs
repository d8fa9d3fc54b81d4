//! Object identifiers and their names.

use std::fmt;

/// The identifier in its encoded form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<'a>(pub &'a [u8]);

impl Object<'_> {
    /// Short and long name, for those that have one.
    pub fn names(self) -> Option<(&'static str, &'static str)> {
        // The longest of the table has 11 bytes; the text of longer ones is never needed to look them up.
        if self.0.len() > 16 {
            return None;
        }
        names(&self.dotted())
    }

    /// The numbers with dots between; empty if they cannot be read.
    pub fn dotted(self) -> String {
        let mut text = String::new();
        let mut value: u128 = 0;
        for byte in self.0 {
            // More than 128 bits: no number anybody registered.
            let Some(shifted) = value.checked_mul(128) else { return String::new() };
            value = shifted | u128::from(byte & 0x7F);
            if byte & 0x80 != 0 {
                continue;
            }
            if text.is_empty() {
                let first = (value / 40).min(2);
                text = format!("{first}.{}", value - first * 40);
            } else {
                text.push('.');
                text.push_str(&value.to_string());
            }
            value = 0;
        }
        text
    }
}

/// The long name, or the numbers.
impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names() {
            Some((_, long)) => f.write_str(long),
            None => f.write_str(&self.dotted()),
        }
    }
}

fn names(dotted: &str) -> Option<(&'static str, &'static str)> {
    let both = |name| Some((name, name));
    match dotted {
        // Parts of names.
        "2.5.4.3" => Some(("CN", "commonName")),
        "2.5.4.4" => Some(("SN", "surname")),
        "2.5.4.5" => both("serialNumber"),
        "2.5.4.6" => Some(("C", "countryName")),
        "2.5.4.7" => Some(("L", "localityName")),
        "2.5.4.8" => Some(("ST", "stateOrProvinceName")),
        "2.5.4.9" => Some(("street", "streetAddress")),
        "2.5.4.10" => Some(("O", "organizationName")),
        "2.5.4.11" => Some(("OU", "organizationalUnitName")),
        "2.5.4.12" => both("title"),
        "2.5.4.13" => both("description"),
        "2.5.4.15" => both("businessCategory"),
        "2.5.4.16" => both("postalAddress"),
        "2.5.4.17" => both("postalCode"),
        "2.5.4.18" => both("postOfficeBox"),
        "2.5.4.20" => both("telephoneNumber"),
        "2.5.4.41" => both("name"),
        "2.5.4.42" => Some(("GN", "givenName")),
        "2.5.4.43" => both("initials"),
        "2.5.4.44" => both("generationQualifier"),
        "2.5.4.45" => both("x500UniqueIdentifier"),
        "2.5.4.46" => both("dnQualifier"),
        "2.5.4.65" => both("pseudonym"),
        "2.5.4.97" => both("organizationIdentifier"),
        "0.9.2342.19200300.100.1.1" => Some(("UID", "userId")),
        "0.9.2342.19200300.100.1.25" => Some(("DC", "domainComponent")),
        "1.2.840.113549.1.9.1" => both("emailAddress"),
        "1.2.840.113549.1.9.2" => both("unstructuredName"),
        "1.2.840.113549.1.9.8" => both("unstructuredAddress"),
        "1.3.6.1.4.1.311.60.2.1.1" => Some(("jurisdictionL", "jurisdictionLocalityName")),
        "1.3.6.1.4.1.311.60.2.1.2" => Some(("jurisdictionST", "jurisdictionStateOrProvinceName")),
        "1.3.6.1.4.1.311.60.2.1.3" => Some(("jurisdictionC", "jurisdictionCountryName")),
        _ => algorithm(dotted).or_else(|| extension(dotted)),
    }
}

fn algorithm(dotted: &str) -> Option<(&'static str, &'static str)> {
    let named = |short, long| Some((short, long));
    match dotted {
        "1.2.840.113549.1.1.1" => named("rsaEncryption", "rsaEncryption"),
        "1.2.840.113549.1.1.2" => named("RSA-MD2", "md2WithRSAEncryption"),
        "1.2.840.113549.1.1.3" => named("RSA-MD4", "md4WithRSAEncryption"),
        "1.2.840.113549.1.1.4" => named("RSA-MD5", "md5WithRSAEncryption"),
        "1.2.840.113549.1.1.5" => named("RSA-SHA1", "sha1WithRSAEncryption"),
        "1.2.840.113549.1.1.7" => named("RSAES-OAEP", "rsaesOaep"),
        "1.2.840.113549.1.1.8" => named("MGF1", "mgf1"),
        "1.2.840.113549.1.1.10" => named("RSASSA-PSS", "rsassaPss"),
        "1.2.840.113549.1.1.11" => named("RSA-SHA256", "sha256WithRSAEncryption"),
        "1.2.840.113549.1.1.12" => named("RSA-SHA384", "sha384WithRSAEncryption"),
        "1.2.840.113549.1.1.13" => named("RSA-SHA512", "sha512WithRSAEncryption"),
        "1.2.840.113549.1.1.14" => named("RSA-SHA224", "sha224WithRSAEncryption"),
        "1.2.840.113549.1.3.1" => named("dhKeyAgreement", "dhKeyAgreement"),
        "1.2.840.113549.2.5" => named("MD5", "md5"),
        "1.3.14.3.2.26" => named("SHA1", "sha1"),
        "1.3.14.3.2.29" => named("RSA-SHA1-2", "sha1WithRSA"),
        "2.16.840.1.101.3.4.2.1" => named("SHA256", "sha256"),
        "2.16.840.1.101.3.4.2.2" => named("SHA384", "sha384"),
        "2.16.840.1.101.3.4.2.3" => named("SHA512", "sha512"),
        "2.16.840.1.101.3.4.2.4" => named("SHA224", "sha224"),
        "1.2.840.10040.4.1" => named("DSA", "dsaEncryption"),
        "1.2.840.10040.4.3" => named("DSA-SHA1", "dsaWithSHA1"),
        "2.16.840.1.101.3.4.3.1" => named("dsa_with_SHA224", "dsa_with_SHA224"),
        "2.16.840.1.101.3.4.3.2" => named("dsa_with_SHA256", "dsa_with_SHA256"),
        "1.2.840.10045.2.1" => named("id-ecPublicKey", "id-ecPublicKey"),
        "1.2.840.10045.4.1" => named("ecdsa-with-SHA1", "ecdsa-with-SHA1"),
        "1.2.840.10045.4.3.1" => named("ecdsa-with-SHA224", "ecdsa-with-SHA224"),
        "1.2.840.10045.4.3.2" => named("ecdsa-with-SHA256", "ecdsa-with-SHA256"),
        "1.2.840.10045.4.3.3" => named("ecdsa-with-SHA384", "ecdsa-with-SHA384"),
        "1.2.840.10045.4.3.4" => named("ecdsa-with-SHA512", "ecdsa-with-SHA512"),
        "1.2.840.10045.3.1.1" => named("prime192v1", "prime192v1"),
        "1.2.840.10045.3.1.7" => named("prime256v1", "prime256v1"),
        "1.3.132.0.10" => named("secp256k1", "secp256k1"),
        "1.3.132.0.33" => named("secp224r1", "secp224r1"),
        "1.3.132.0.34" => named("secp384r1", "secp384r1"),
        "1.3.132.0.35" => named("secp521r1", "secp521r1"),
        "1.3.36.3.3.2.8.1.1.7" => named("brainpoolP256r1", "brainpoolP256r1"),
        "1.3.36.3.3.2.8.1.1.11" => named("brainpoolP384r1", "brainpoolP384r1"),
        "1.3.36.3.3.2.8.1.1.13" => named("brainpoolP512r1", "brainpoolP512r1"),
        "1.2.156.10197.1.301" => named("SM2", "sm2"),
        "1.2.156.10197.1.501" => named("SM2-SM3", "SM2-with-SM3"),
        "1.3.101.110" => named("X25519", "X25519"),
        "1.3.101.111" => named("X448", "X448"),
        "1.3.101.112" => named("ED25519", "ED25519"),
        "1.3.101.113" => named("ED448", "ED448"),
        _ => None,
    }
}

fn extension(dotted: &str) -> Option<(&'static str, &'static str)> {
    let named = |short, long| Some((short, long));
    match dotted {
        "2.5.29.9" => named("subjectDirectoryAttributes", "X509v3 Subject Directory Attributes"),
        "2.5.29.14" => named("subjectKeyIdentifier", "X509v3 Subject Key Identifier"),
        "2.5.29.15" => named("keyUsage", "X509v3 Key Usage"),
        "2.5.29.16" => named("privateKeyUsagePeriod", "X509v3 Private Key Usage Period"),
        "2.5.29.17" => named("subjectAltName", "X509v3 Subject Alternative Name"),
        "2.5.29.18" => named("issuerAltName", "X509v3 Issuer Alternative Name"),
        "2.5.29.19" => named("basicConstraints", "X509v3 Basic Constraints"),
        "2.5.29.30" => named("nameConstraints", "X509v3 Name Constraints"),
        "2.5.29.31" => named("crlDistributionPoints", "X509v3 CRL Distribution Points"),
        "2.5.29.32" => named("certificatePolicies", "X509v3 Certificate Policies"),
        "2.5.29.32.0" => named("anyPolicy", "X509v3 Any Policy"),
        "2.5.29.33" => named("policyMappings", "X509v3 Policy Mappings"),
        "2.5.29.35" => named("authorityKeyIdentifier", "X509v3 Authority Key Identifier"),
        "2.5.29.36" => named("policyConstraints", "X509v3 Policy Constraints"),
        "2.5.29.37" => named("extendedKeyUsage", "X509v3 Extended Key Usage"),
        "2.5.29.37.0" => named("anyExtendedKeyUsage", "Any Extended Key Usage"),
        "2.5.29.46" => named("freshestCRL", "X509v3 Freshest CRL"),
        "2.5.29.54" => named("inhibitAnyPolicy", "X509v3 Inhibit Any Policy"),
        "2.16.840.1.113730.1.1" => named("nsCertType", "Netscape Cert Type"),
        "2.16.840.1.113730.1.2" => named("nsBaseUrl", "Netscape Base Url"),
        "2.16.840.1.113730.1.3" => named("nsRevocationUrl", "Netscape Revocation Url"),
        "2.16.840.1.113730.1.4" => named("nsCaRevocationUrl", "Netscape CA Revocation Url"),
        "2.16.840.1.113730.1.7" => named("nsRenewalUrl", "Netscape Renewal Url"),
        "2.16.840.1.113730.1.8" => named("nsCaPolicyUrl", "Netscape CA Policy Url"),
        "2.16.840.1.113730.1.12" => named("nsSslServerName", "Netscape SSL Server Name"),
        "2.16.840.1.113730.1.13" => named("nsComment", "Netscape Comment"),
        "2.16.840.1.113730.4.1" => named("nsSGC", "Netscape Server Gated Crypto"),
        "1.3.6.1.5.5.7.1.1" => named("authorityInfoAccess", "Authority Information Access"),
        "1.3.6.1.5.5.7.1.3" => named("qcStatements", "qcStatements"),
        "1.3.6.1.5.5.7.1.11" => named("subjectInfoAccess", "Subject Information Access"),
        "1.3.6.1.5.5.7.1.24" => named("tlsfeature", "TLS Feature"),
        "1.3.6.1.5.5.7.2.1" => named("id-qt-cps", "Policy Qualifier CPS"),
        "1.3.6.1.5.5.7.2.2" => named("id-qt-unotice", "Policy Qualifier User Notice"),
        "1.3.6.1.5.5.7.3.1" => named("serverAuth", "TLS Web Server Authentication"),
        "1.3.6.1.5.5.7.3.2" => named("clientAuth", "TLS Web Client Authentication"),
        "1.3.6.1.5.5.7.3.3" => named("codeSigning", "Code Signing"),
        "1.3.6.1.5.5.7.3.4" => named("emailProtection", "E-mail Protection"),
        "1.3.6.1.5.5.7.3.5" => named("ipsecEndSystem", "IPSec End System"),
        "1.3.6.1.5.5.7.3.6" => named("ipsecTunnel", "IPSec Tunnel"),
        "1.3.6.1.5.5.7.3.7" => named("ipsecUser", "IPSec User"),
        "1.3.6.1.5.5.7.3.8" => named("timeStamping", "Time Stamping"),
        "1.3.6.1.5.5.7.3.9" => named("OCSPSigning", "OCSP Signing"),
        "1.3.6.1.5.5.7.3.17" => named("ipsecIKE", "ipsec Internet Key Exchange"),
        "1.3.6.1.5.5.7.48.1" => named("OCSP", "OCSP"),
        "1.3.6.1.5.5.7.48.1.5" => named("noCheck", "OCSP No Check"),
        "1.3.6.1.5.5.7.48.2" => named("caIssuers", "CA Issuers"),
        "1.3.6.1.5.5.7.48.3" => named("ad_timestamping", "AD Time Stamping"),
        "1.3.6.1.5.5.7.48.5" => named("caRepository", "CA Repository"),
        "1.3.6.1.4.1.311.2.1.21" => named("msCodeInd", "Microsoft Individual Code Signing"),
        "1.3.6.1.4.1.311.2.1.22" => named("msCodeCom", "Microsoft Commercial Code Signing"),
        "1.3.6.1.4.1.311.10.3.1" => named("msCTLSign", "Microsoft Trust List Signing"),
        "1.3.6.1.4.1.311.10.3.3" => named("msSGC", "Microsoft Server Gated Crypto"),
        "1.3.6.1.4.1.311.10.3.4" => named("msEFS", "Microsoft Encrypted File System"),
        "1.3.6.1.4.1.311.20.2.2" => named("msSmartcardLogin", "Microsoft Smartcard Login"),
        "1.3.6.1.4.1.311.20.2.3" => named("msUPN", "Microsoft User Principal Name"),
        "1.3.6.1.4.1.11129.2.4.2" => named("ct_precert_scts", "CT Precertificate SCTs"),
        "1.3.6.1.4.1.11129.2.4.3" => named("ct_precert_poison", "CT Precertificate Poison"),
        "1.3.6.1.4.1.11129.2.4.4" => named("ct_precert_signer", "CT Precertificate Signer"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_seven_bit_groups() {
        assert_eq!(Object(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 11]).dotted(), "1.2.840.113549.1.1.11");
        assert_eq!(Object(&[0x55, 4, 3]).to_string(), "commonName");
        assert_eq!(Object(&[0x88, 0x37, 3]).dotted(), "2.999.3");
        assert_eq!(Object(&[]).dotted(), "");
        assert_eq!(Object(&[0xFF; 40]).dotted(), "");
    }
}
