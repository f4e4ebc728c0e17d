//! A proxy made with pingora that does nothing but to forward (benches/proxy/peers/pingora).

use super::Setting;

pub(super) fn arguments(setting: &Setting<'_>) -> Vec<String> {
    let Setting { port, worker, threads, .. } = setting;
    vec![port.to_string(), worker.to_string(), threads.to_string()]
}
