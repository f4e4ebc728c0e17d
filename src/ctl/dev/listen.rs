//! Where a session listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::str::FromStr;

use super::holder;
use crate::ctl::exit::{Exit, Failure};

/// `--listen`: an address, or a port on this machine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listen {
    /// On the loopback addresses.
    Port(u16),
    /// There and nowhere else.
    Address(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let listen = match text.parse() {
            Ok(port) => Self::Port(port),
            Err(_) => Self::Address(
                text.parse().map_err(|_| "write PORT, ADDR:PORT or [ADDR]:PORT".to_owned())?,
            ),
        };
        match listen {
            Self::Port(0) => Err("a port is 1 to 65535".to_owned()),
            Self::Address(address) if address.port() == 0 => Err("a port is 1 to 65535".to_owned()),
            listen => Ok(listen),
        }
    }
}

/// The addresses that were asked for, or the loopback ones with the configured port. Nobody else
/// listens there.
pub(super) fn addresses(wish: Option<Listen>, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let wished: Vec<_> = match wish.unwrap_or(Listen::Port(port)) {
        Listen::Address(address) => vec![address],
        Listen::Port(port) => [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()]
            .map(|ip| SocketAddr::new(ip, port))
            .into(),
    };
    let mut free = Vec::new();
    for address in &wished {
        match TcpListener::bind(address) {
            Ok(_) => free.push(*address),
            // IPv6 is not up. What was asked for as such has to be there.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && wished.len() > 1 => {}
            Err(error) => return Err(refused(*address, &error)),
        }
    }
    Ok(free)
}

fn refused(address: SocketAddr, error: &io::Error) -> Failure {
    if error.kind() != io::ErrorKind::AddrInUse {
        return anyhow::anyhow!("cannot listen on {address}: {error}").into();
    }
    let holder = holder::of_port(address.port()).map_or(String::new(), |it| format!(" by {it}"));
    let error = anyhow::anyhow!("{address} is in use{holder}");
    Failure::new(Exit::Failure, error)
        .with_hint(Some("end that, or choose another port: tqctl dev --listen PORT".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("8080", Some(Listen::Port(8080)))]
    #[case("0.0.0.0:80", Some(Listen::Address(([0, 0, 0, 0], 80).into())))]
    #[case("[::1]:80", Some(Listen::Address((Ipv6Addr::LOCALHOST, 80).into())))]
    #[case("0", None)]
    #[case("127.0.0.1:0", None)]
    #[case("localhost:80", None)]
    #[case("65536", None)]
    fn an_address_or_a_port(#[case] text: &str, #[case] expected: Option<Listen>) {
        assert_eq!(text.parse().ok(), expected);
    }

    #[test]
    fn a_port_in_use_names_its_holder() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = addresses(Some(Listen::Port(port)), 1).unwrap_err();
        let us = format!("127.0.0.1:{port} is in use by process {} (", std::process::id());
        assert!(error.to_string().starts_with(&us), "{error}");
        assert!(error.hint().unwrap().contains("--listen"));
        drop(taken);
        assert!(addresses(None, port).unwrap().contains(&(Ipv4Addr::LOCALHOST, port).into()));
    }
}
