//! What certificates say about themselves.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::Time;

use super::error::Problem;

/// How long before its end a certificate is warned of, at most: whoever renews it a month before has
/// failed for two weeks.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What matters of a chain.
#[derive(Debug)]
pub(super) struct Facts {
    /// The DNS names that the server's own certificate is for, in lower case. One may begin with
    /// `*.`, which stands for one label.
    pub(super) names: Vec<String>,
    /// The addresses that it is for.
    addresses: Vec<IpAddr>,
    not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// What is odd about the chain, whatever the time is.
    chain: Option<String>,
}

impl Facts {
    /// Reads a chain, which is not empty.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Result<Self, Problem> {
        let mut parsed = Vec::with_capacity(chain.len());
        for (index, der) in chain.iter().enumerate() {
            let malformed = |error: x509_cert::der::Error| Problem::BadCertificate {
                place: index + 1,
                reason: error.to_string(),
            };
            parsed.push(Certificate::from_der(der).map_err(malformed)?);
        }
        let own = parsed.first().ok_or(Problem::NoCertificate)?.tbs_certificate();
        let malformed = |reason: String| Problem::BadCertificate { place: 1, reason };
        let alternatives = own
            .get_extension::<SubjectAltName>()
            .map_err(|error| malformed(error.to_string()))?
            .map(|(_, names)| names.0)
            .unwrap_or_default();
        let validity = own.validity();
        let time = |time: &Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_second(seconds).map_err(|error| malformed(error.to_string()))
        };
        Ok(Self {
            names: alternatives.iter().filter_map(dns_name).collect(),
            addresses: alternatives.iter().filter_map(address).collect(),
            not_before: time(&validity.not_before)?,
            not_after: time(&validity.not_after)?,
            chain: oddity(&parsed),
        })
    }

    /// What its owner should look at.
    pub(super) fn warnings(&self, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        let life = self.not_before.duration_until(self.not_after);
        let left = now.duration_until(self.not_after);
        if now < self.not_before {
            warnings.push(format!("not valid before {}: is the clock right?", self.not_before));
        } else if left.is_negative() {
            warnings.push(format!("expired at {}; clients refuse it: renew it", self.not_after));
        } else if left < SOON.min(life / 5) {
            let hours = left.as_hours();
            let left =
                if hours < 48 { format!("{hours} h") } else { format!("{} days", hours / 24) };
            let end = self.not_after;
            warnings.push(format!("expires in {left}, at {end}: renew it, and reload tqserver"));
        }
        if self.names.is_empty() && self.addresses.is_empty() {
            let message = "names no server (subjectAltName is empty); clients refuse it";
            warnings.push(message.to_owned());
        }
        warnings.extend(self.chain.clone());
        warnings
    }
}

fn dns_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    }
}

fn address(name: &GeneralName) -> Option<IpAddr> {
    let GeneralName::IpAddress(octets) = name else { return None };
    let octets = octets.as_bytes();
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// A client knows roots only: everything between must be in the file, each behind what it has
/// signed.
fn oddity(chain: &[Certificate]) -> Option<String> {
    let issuer = |certificate: &Certificate| certificate.tbs_certificate().issuer().clone();
    let subject = |certificate: &Certificate| certificate.tbs_certificate().subject().clone();
    for (index, pair) in chain.windows(2).enumerate() {
        if issuer(&pair[0]) != subject(&pair[1]) {
            return Some(format!(
                "certificate {} is not the issuer of the one before it; some clients refuse the chain",
                index + 2
            ));
        }
    }
    match chain {
        [own] if issuer(own) != subject(own) => Some(
            "the chain has no issuer, without which most clients refuse it: use the file with the \
             full chain"
                .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
