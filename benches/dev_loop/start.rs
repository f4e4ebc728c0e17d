//! From `tqctl dev` to the first answer.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::client::await_answer;
use crate::figures::Figures;
use crate::project::Project;
use crate::support::bed::Bed;
use crate::support::ports;

/// Begins and ends sessions of a project whose worker is built.
pub fn sessions(rounds: usize) -> Figures {
    let project = Project::new(&["index"]);
    let ports = ports::lease(20);
    let (port, start, end) = (ports.port(0), ports.port(1), ports.port(19));
    project.write(
        "config/server.yaml",
        &format!(
            "server:\n  port: {port}\nworkers:\n  port_range_start: {start}\n  \
             port_range_end: {end}\n"
        ),
    );
    let addr = (Ipv4Addr::LOCALHOST, port).into();
    let bed = Bed::user();
    // The first builds it.
    session(&bed, &project, addr);
    (0..rounds).map(|_| session(&bed, &project, addr)).collect()
}

/// A session, from its beginning to its end; returns how long it took to answer.
fn session(bed: &Bed, project: &Project, addr: SocketAddr) -> Duration {
    let script = format!(
        "echo $$; read go; exec {} dev {}",
        env!("CARGO_BIN_EXE_tqctl"),
        project.path().display()
    );
    let mut command = bed.command("sh");
    // As a shell has it: cargo, which runs this, tells programs where its own toolchain is.
    let of_cargo = |name: &String| {
        ["CARGO", "RUST", "LD_LIBRARY_PATH"].iter().any(|start| name.starts_with(start))
    };
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in variables.filter(of_cargo) {
        command.env_remove(name);
    }
    command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut pid = String::new();
    stdout.read_line(&mut pid).unwrap();
    let began = Instant::now();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let took = await_answer(addr, "first", began);
    bed.run(&["kill", "-INT", pid.trim()]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(TcpStream::connect(addr).is_err(), "nothing of it is left");
    took
}
