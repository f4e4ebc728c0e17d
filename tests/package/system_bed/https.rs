//! The service, in its sandbox and without privileges, reads certificates by its group or as
//! credentials.

use std::fs;

use rcgen::{CertificateParams, KeyPair};
use rstest::rstest;

use crate::machine::{Debian, Machine, PATIENCE};
use crate::support::deployments::worker;
use crate::support::wait::await_until;

/// Puts this into `server.https.certificates` and restarts the service.
#[track_caller]
fn restart_with(machine: &Machine, certificate: &str) {
    machine.shell(&format!(
        "sed --in-place 's|^    certificates: .*|    certificates: [{certificate}]|' \
             /etc/tqserver/server.yaml
         systemctl restart --no-block tqserver"
    ));
}

/// The same, until it says so.
#[track_caller]
fn hear(machine: &Machine, certificate: &str, said: &str) {
    let before = machine.log().len();
    restart_with(machine, certificate);
    await_until(said, PATIENCE, || machine.log()[before..].contains(said));
}

/// The same, until it serves by another process.
#[track_caller]
fn be_served(machine: &Machine, certificate: &str) {
    let before = machine.main_pid();
    restart_with(machine, certificate);
    machine.await_other_than(before);
    let ask = "curl --silent --noproxy '*' --cacert /etc/letsencrypt/live/shop/fullchain.pem \
                   --resolve shop.example:443:127.0.0.1 https://shop.example/ || true";
    await_until("an answer over TLS", PATIENCE, || machine.shell(ask) == "index well g1 /");
}

#[rstest]
#[case::debian_12(Debian::Bookworm)]
#[case::debian_13(Debian::Trixie)]
fn certificates_are_read_by_the_group_or_as_credentials(#[case] debian: Debian) {
    let machine = Machine::with_tqserver(debian);
    machine.deploy('1', &[worker("index", "well")]);
    let enabled = machine.shell("systemctl is-enabled tqserver-https.socket || true");
    assert_eq!(enabled.trim(), "disabled");
    machine.shell("systemctl enable --quiet tqserver-https.socket");
    hear(&machine, "", "systemctl disable --now tqserver-https.socket");

    machine.shell(
        "install --directory --mode=0750 --group=tqserver /etc/tqserver/certificates
         install --directory --mode=0700 /etc/letsencrypt/live
         mkdir /etc/letsencrypt/live/shop",
    );
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let live = machine.inside("/etc/letsencrypt/live/shop");
    fs::write(live.join("fullchain.pem"), certificate).unwrap();
    fs::write(live.join("privkey.pem"), key.serialize_pem()).unwrap();

    let pair = |folder: &str| {
        format!("{{certificate: {folder}/fullchain.pem, key: {folder}/privkey.pem}}")
    };
    let (live, own) = (pair("/etc/letsencrypt/live/shop"), pair("/etc/tqserver/certificates"));
    hear(&machine, &live, "tqserver may not enter /etc/letsencrypt/live;");
    machine
        .shell("install --mode=0600 /etc/letsencrypt/live/shop/*.pem /etc/tqserver/certificates");
    hear(&machine, &own, "chgrp tqserver /etc/tqserver/certificates/fullchain.pem");
    machine.shell(
        "install --mode=0640 --group=tqserver /etc/letsencrypt/live/shop/*.pem \
             /etc/tqserver/certificates",
    );
    be_served(&machine, &own);

    hear(&machine, "{credential: shop}", "LoadCredential=shop.crt:CERTIFICATE");
    machine.shell(
        "mkdir --parents /etc/systemd/system/tqserver.service.d
         cd /etc/systemd/system/tqserver.service.d
         echo '[Service]' >certificate.conf
         echo 'LoadCredential=shop.crt:/etc/letsencrypt/live/shop/fullchain.pem' >>certificate.conf
         echo 'LoadCredential=shop.key:/etc/letsencrypt/live/shop/privkey.pem' >>certificate.conf
         systemctl daemon-reload",
    );
    be_served(&machine, "{credential: shop}");
}
