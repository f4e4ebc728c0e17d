//! Somebody who has a session of a project, and hears what it tells.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use serde_json::Value;

use super::project::Project;
use crate::session::{PATIENCE, Session};

/// A session that is being watched.
pub struct Developer {
    pub session: Session,
    listener: Child,
    events: Receiver<Value>,
    heard: Vec<Value>,
}

impl Developer {
    /// Begins a session of the project, in a user manager of its own.
    pub fn begin(project: &Project) -> Self {
        let session = Session::user(project.path(), |ports| project.configure(ports));
        let path = std::env::var("PATH").unwrap();
        let home = std::env::var("HOME").unwrap();
        session.edit_unit(
            "tqserver.service",
            // What cargo sets for us is in nobody's session.
            &format!(
                "[Service]\nEnvironment=\"PATH={path}\" \"HOME={home}\"\n\
                 UnsetEnvironment=CARGO RUSTUP_HOME RUSTUP_TOOLCHAIN\n"
            ),
        );
        session.systemctl(&["start", "tqserver.service"]);
        let mut listener = session.events();
        let lines = BufReader::new(listener.stdout.take().unwrap()).lines();
        let (send, events) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some(data) = line.strip_prefix("data: ") else { continue };
                if send.send(serde_json::from_str(data).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { session, listener, events, heard: Vec::new() }
    }

    /// Waits for an event of this kind for which the rest holds, and returns it. Events before it
    /// are passed over, and cannot be waited for again.
    #[track_caller]
    pub fn hears(&mut self, kind: &str, condition: impl Fn(&Value) -> bool) -> Value {
        loop {
            match self.events.recv_timeout(PATIENCE) {
                Ok(event) => {
                    self.heard.push(event.clone());
                    if event["kind"] == kind && condition(&event) {
                        return event;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => panic!(
                    "no {kind}; heard:\n{}\n{}",
                    self.heard.iter().map(Value::to_string).collect::<Vec<_>>().join("\n"),
                    self.session.log(),
                ),
            }
        }
    }

    /// Waits until a generation of the worker serves.
    #[track_caller]
    pub fn serves(&mut self, worker: &str) -> u64 {
        let event = self.hears("serving", |event| event["worker"] == worker);
        event["generation"].as_u64().unwrap()
    }

    /// The events of this kind that were heard, those passed over as well.
    pub fn told(&self, kind: &str) -> Vec<&Value> {
        self.heard.iter().filter(|event| event["kind"] == kind).collect()
    }

    /// How many they are.
    pub fn count(&self, kind: &str) -> usize {
        self.told(kind).len()
    }
}

impl Drop for Developer {
    fn drop(&mut self) {
        // It ends with the session otherwise.
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}
