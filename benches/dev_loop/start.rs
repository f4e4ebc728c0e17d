//! From `tqctl dev` to the first answer, with workers that are built.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Instant;

use crate::figures::{Figures, Report};
use crate::probe::served;
use crate::project::Project;
use crate::support::bed::Bed;
use crate::support::ports;

pub fn measure(report: &mut Report, rounds: usize) {
    let (project, ports, bed) = (Project::new(&["index"]), ports::lease(20), Bed::user());
    let (port, start, end) = (ports.port(0), ports.port(1), ports.port(19));
    let text = format!(
        "server:\n  port: {port}\nworkers:\n  port_range_start: {start}\n  port_range_end: {end}\n"
    );
    project.write("config/server.yaml", &text);
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut figures = Figures::default();
    // The first one builds.
    for round in 0..=rounds {
        let script = format!(
            "echo $$; exec {} dev {} >/dev/null 2>&1",
            env!("CARGO_BIN_EXE_tqctl"),
            project.path().display()
        );
        let mut dev = bed.command("sh");
        let began = Instant::now();
        let mut dev = dev.args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(dev.stdout.take().unwrap()).read_line(&mut pid).unwrap();
        let took = served(addr, "/", "first", began);
        if round > 0 {
            figures.add(took);
        }
        bed.run(&["kill", "-INT", pid.trim()]);
        dev.wait().unwrap();
    }
    report.durations("tqctl dev to first answer, workers built", &figures, Some(600));
}
