//! What callers may ask for. Everything is parsed into the types of [`ids`](crate::ids) at once.

use zbus::Message;

use crate::ids::{Generation, InvalidId, Port, UnitName};
use crate::launcher::launcher1::{NAME, PATH, REFUSED, START, STOP};
use crate::launcher::{Source, StartRequest};

/// What `busctl introspect` shows.
pub(super) const INTROSPECTION: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
 <interface name="org.tqserver.Launcher1">
  <method name="StartWorker">
   <arg name="name" type="s" direction="in"/>
   <arg name="port" type="q" direction="in"/>
   <arg name="commit" type="s" direction="in"/>
   <arg name="generation" type="t" direction="in"/>
  </method>
  <method name="StopWorker">
   <arg name="name" type="s" direction="in"/>
   <arg name="port" type="q" direction="in"/>
  </method>
 </interface>
</node>
"#;

/// A call that makes sense so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    Start(StartRequest),
    Stop(UnitName),
    Introspect,
}

/// A call that does not, as the D-Bus error it is answered with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadCall {
    pub(super) name: &'static str,
    pub(super) text: String,
}

impl Call {
    /// Reads a method call.
    pub(super) fn parse(message: &Message) -> Result<Self, BadCall> {
        let header = message.header();
        let (path, member) = (header.path().map(|p| p.as_str()), header.member());
        let interface = header.interface().map(|name| name.as_str());
        let member = member.map(|name| name.as_str()).unwrap_or_default();
        let body = message.body();
        match (interface, member) {
            // On every path, as a look around begins at the root.
            (Some("org.freedesktop.DBus.Introspectable"), "Introspect") => Ok(Self::Introspect),
            // The interface may be left out (D-Bus specification, "Method Calls").
            (None | Some(NAME), START | STOP) if path != Some(PATH) => {
                Err(BadCall::standard("UnknownObject", format!("the object is {PATH}")))
            }
            (None | Some(NAME), START) => {
                let (name, port, commit, generation): (&str, u16, &str, u64) =
                    body.deserialize().map_err(|_| BadCall::arguments("sqst"))?;
                Ok(Self::Start(StartRequest {
                    worker: name.parse()?,
                    port: port_of(port)?,
                    source: Source::Deployment(commit.parse()?),
                    generation: Generation(generation),
                }))
            }
            (None | Some(NAME), STOP) => {
                let (name, port): (&str, u16) =
                    body.deserialize().map_err(|_| BadCall::arguments("sq"))?;
                Ok(Self::Stop(UnitName { worker: name.parse()?, port: port_of(port)? }))
            }
            _ => Err(BadCall::standard("UnknownMethod", format!("there are {START} and {STOP}"))),
        }
    }
}

fn port_of(number: u16) -> Result<Port, BadCall> {
    let refused = || BadCall { name: REFUSED, text: "0 is no port to listen on".to_owned() };
    Port::new(number).ok_or_else(refused)
}

impl BadCall {
    fn standard(name: &'static str, text: String) -> Self {
        let name = match name {
            "UnknownObject" => "org.freedesktop.DBus.Error.UnknownObject",
            _ => "org.freedesktop.DBus.Error.UnknownMethod",
        };
        Self { name, text }
    }

    fn arguments(signature: &str) -> Self {
        let text = format!("the arguments must have the signature {signature}");
        Self { name: "org.freedesktop.DBus.Error.InvalidArgs", text }
    }
}

impl From<InvalidId> for BadCall {
    fn from(error: InvalidId) -> Self {
        Self { name: REFUSED, text: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde::Serialize;

    const COMMIT: &str = "a1b2c3d4e5f6a7b8c9d0a1b2c3d4e5f6a7b8c9d0";

    fn parse(
        path: &str,
        member: &str,
        body: &(impl Serialize + zbus::DynamicType),
    ) -> Result<Call, BadCall> {
        let call = Message::method_call(path, member).interface(NAME);
        Call::parse(&call.build(body).unwrap())
    }

    #[test]
    fn a_start_names_worker_port_commit_and_generation() {
        let call = parse(PATH, START, &("index", 9014_u16, COMMIT, 18_u64));
        assert_eq!(
            call,
            Ok(Call::Start(StartRequest {
                worker: "index".parse().unwrap(),
                port: Port::new(9014).unwrap(),
                source: Source::Deployment(COMMIT.parse().unwrap()),
                generation: Generation(18),
            }))
        );
        let unit = "tq-worker@index-9014.service".parse().unwrap();
        assert_eq!(parse(PATH, STOP, &("index", 9014_u16)), Ok(Call::Stop(unit)));
    }

    #[rstest]
    #[case("../index", 9014, COMMIT, "not a worker name")]
    #[case("index", 0, COMMIT, "0 is no port")]
    #[case("index", 9014, "dev", "not a commit")]
    #[case("index", 9014, "../../../etc", "not a commit")]
    fn names_are_parsed_or_refused(
        #[case] name: &str,
        #[case] port: u16,
        #[case] commit: &str,
        #[case] reason: &str,
    ) {
        let error = parse(PATH, START, &(name, port, commit, 1_u64)).unwrap_err();
        assert_eq!(error.name, REFUSED);
        assert!(error.text.contains(reason), "{}", error.text);
    }

    #[test]
    fn there_is_nothing_else_to_call() {
        let name = |call: Result<Call, BadCall>| call.unwrap_err().name.rsplit('.').next().unwrap();
        assert_eq!(name(parse("/", START, &("index", 9014_u16, COMMIT, 1_u64))), "UnknownObject");
        assert_eq!(name(parse(PATH, "StartUnit", &("ssh.service", "fail"))), "UnknownMethod");
        assert_eq!(name(parse(PATH, START, &("index", "9014", COMMIT, 1_u64))), "InvalidArgs");
        assert_eq!(name(parse(PATH, STOP, &("index", 9014_u16, COMMIT))), "InvalidArgs");
    }
}
