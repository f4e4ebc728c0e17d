//! The test beds are real, apart from each other, and leave nothing behind.

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::bed::{self, Bed, Kind};
use support::ports;
use support::wait::await_until;

mod user_bed {
    use super::*;

    #[test]
    fn runs_a_transient_unit() {
        let bed = Bed::user();
        bed.run(&["systemd-run", "--user", "--unit=probe", "-pType=exec", "sleep", "infinity"]);
        assert_eq!(bed.run(&["systemctl", "--user", "is-active", "probe"]), "active");
        assert_eq!(bed.run(&["systemctl", "--user", "show", "-P", "Type", "probe"]), "exec");
    }

    #[test]
    fn starts_a_service_on_the_first_connection_from_outside() {
        let bed = Bed::user();
        let ports = ports::lease(1);
        let backend = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        bed.run(&[
            "systemd-run",
            "--user",
            "--unit=front",
            &format!("--socket-property=ListenStream=127.0.0.1:{}", ports.port(0)),
            "/usr/lib/systemd/systemd-socket-proxyd",
            &backend.local_addr().unwrap().to_string(),
        ]);
        let state = ["systemctl", "--user", "show", "-P", "ActiveState", "front.service"];
        assert_eq!(bed.run(&state), "inactive");

        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, ports.port(0))).unwrap();
        client.write_all(b"ping").unwrap();
        let mut received = [0; 4];
        backend.accept().unwrap().0.read_exact(&mut received).unwrap();

        assert_eq!(&received, b"ping");
        assert_eq!(bed.run(&state), "active");
    }

    #[test]
    fn two_run_the_same_unit_side_by_side() {
        units_of_two_beds_are_apart(Bed::user(), Bed::user(), &["--user"]);
    }

    #[test]
    fn leaves_nothing_behind_when_killed() {
        let bed = Bed::user();
        bed.run(&["systemd-run", "--user", "-pType=exec", "sleep", "infinity"]);
        killed_bed_leaves_nothing(bed);
    }

    #[test]
    fn leaves_nothing_behind_when_dropped() {
        let bed = Bed::user();
        bed.run(&["systemd-run", "--user", "-pType=exec", "sleep", "infinity"]);
        dropped_bed_leaves_nothing(bed);
    }
}

mod system_bed {
    use super::*;

    #[test]
    fn has_a_journal() {
        let bed = Bed::system();
        bed.run(&["systemd-run", "--wait", "--unit=speaker", "echo", "a line of its own"]);
        bed.run(&["journalctl", "--sync"]);
        let lines = bed.run(&["journalctl", "--unit=speaker", "--output=cat"]);
        assert!(lines.lines().any(|line| line == "a line of its own"), "{lines}");
    }

    #[test]
    fn gives_dynamic_users_and_credentials() {
        let bed = Bed::system();
        fs::write(bed.root_path("/run/secret"), "sesame").unwrap();
        let output = bed.run(&[
            "systemd-run",
            "--wait",
            "--pipe",
            "--quiet",
            "-pDynamicUser=yes",
            "-pUser=tqw-probe",
            "-pLoadCredential=word:/run/secret",
            "sh",
            "-c",
            "id -un; cat $CREDENTIALS_DIRECTORY/word",
        ]);
        assert_eq!(output, "tqw-probe\nsesame");
    }

    #[test]
    fn keeps_the_hosts_files_as_they_are() {
        let bed = Bed::system();
        fs::write(bed.root_path("/etc/tqserver-bed-was-here"), "").unwrap();
        assert!(!Path::new("/etc/tqserver-bed-was-here").exists());

        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let inside = fs::read(bed.root_path(&manifest)).unwrap();
        assert_eq!(inside, fs::read(&manifest).unwrap());
        let error = bed.command("touch").arg(&manifest).output().unwrap();
        assert!(String::from_utf8_lossy(&error.stderr).contains("Read-only file system"));
    }

    #[test]
    fn shares_a_bound_folder_with_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        fs::write(folder.path().join("from-host"), "there").unwrap();
        let bed = Bed::start(Kind::System, &["--bind", path]);
        assert_eq!(bed.run(&["cat", &format!("{path}/from-host")]), "there");
        bed.run(&["touch", &format!("{path}/from-bed")]);
        assert!(folder.path().join("from-bed").exists());
    }

    #[test]
    fn boots_debian_13() {
        let root = bed::debian13();
        let bed = Bed::start(Kind::System, &["--net", "--root", root.to_str().unwrap()]);
        assert!(bed.run(&["cat", "/etc/debian_version"]).starts_with("13."));
        assert!(bed.run(&["systemctl", "--version"]).starts_with("systemd 257"));
        assert_eq!(bed.run(&["systemctl", "is-system-running"]), "running");
        let user = ["-pDynamicUser=yes", "-pUser=tqw-probe", "id", "--user", "--name"];
        let run = ["systemd-run", "--wait", "--pipe", "--quiet"];
        assert_eq!(bed.run(&[&run[..], &user].concat()), "tqw-probe");

        fs::write(bed.root_path("/etc/tqserver-bed-was-here"), "").unwrap();
        assert!(!root.join("etc/tqserver-bed-was-here").exists(), "the root is for the next bed");
        killed_bed_leaves_nothing(bed);
    }

    #[test]
    fn a_network_of_its_own_can_be_entered() {
        let bed = Bed::start(Kind::System, &["--net"]);
        let network = bed.network();
        let listener = std::thread::spawn(move || {
            network.enter();
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
        });
        let listener = listener.join().unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = std::thread::spawn(move || {
            listener.accept().unwrap().0.write_all(b"here").unwrap();
        });
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; cat <&3", addr.port());
        assert_eq!(bed.run(&["bash", "-c", &script]), "here");
        answer.join().unwrap();
        TcpStream::connect(addr).unwrap_err();
    }

    #[test]
    fn two_run_the_same_unit_side_by_side() {
        units_of_two_beds_are_apart(Bed::system(), Bed::system(), &[]);
    }

    #[test]
    fn leaves_nothing_behind_when_killed() {
        let bed = Bed::system();
        bed.run(&["systemd-run", "-pType=exec", "sleep", "infinity"]);
        killed_bed_leaves_nothing(bed);
    }

    #[test]
    fn leaves_nothing_behind_when_dropped() {
        let bed = Bed::system();
        bed.run(&["systemd-run", "-pType=exec", "sleep", "infinity"]);
        dropped_bed_leaves_nothing(bed);
    }
}

#[test]
fn port_leases_are_disjoint() {
    let leases: Vec<_> = (0..3).map(|_| ports::lease(40)).collect();
    let ports: BTreeSet<_> = leases.iter().flat_map(|lease| lease.range()).collect();
    assert_eq!(ports.len(), 120);
}

#[test]
fn a_port_in_use_is_not_leased() {
    let first = ports::lease(1).port(0);
    let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
    assert_ne!(ports::lease(1).port(0), first);
}

/// One manager's units must be out of the other's reach, as both use the same names.
fn units_of_two_beds_are_apart(one: Bed, other: Bed, scope: &[&str]) {
    let systemctl = |bed: &Bed, args: &[&str]| bed.run(&[&["systemctl"], scope, args].concat());
    for bed in [&one, &other] {
        let run = ["--unit=same", "-pType=exec", "sleep", "infinity"];
        bed.run(&[&["systemd-run"], scope, &run].concat());
    }
    systemctl(&one, &["stop", "same"]);
    assert_eq!(systemctl(&other, &["is-active", "same"]), "active");
    let found = systemctl(&one, &["list-units", "--no-legend", "--all", "same.service"]);
    assert_eq!(found, "");
}

fn killed_bed_leaves_nothing(bed: Bed) {
    let traces = Traces::of(&bed);
    kill(Pid::from_raw(bed.script().id().cast_signed()), Signal::SIGKILL).unwrap();
    await_until("everything of the killed bed is gone", Duration::from_secs(15), || {
        traces.left().is_empty()
    });
}

fn dropped_bed_leaves_nothing(bed: Bed) {
    let traces = Traces::of(&bed);
    drop(bed);
    assert_eq!(traces.left(), Vec::<PathBuf>::new());
}

/// Where on the host a bed can be seen.
struct Traces {
    /// The namespaces' names. Mounts live as long as there is a process in theirs.
    namespaces: [PathBuf; 2],
    /// While open, the kernel gives the names to no other bed.
    _held: [File; 2],
    cgroup: String,
}

impl Traces {
    #[track_caller]
    fn of(bed: &Bed) -> Self {
        let links = ["pid", "mnt"].map(|kind| format!("/proc/{}/ns/{kind}", bed.leader()));
        let traces = Self {
            _held: links.each_ref().map(|link| File::open(link).unwrap()),
            namespaces: links.map(|link| fs::read_link(link).unwrap()),
            cgroup: format!("tqserver-bed.{}", bed.script().id()),
        };
        let left = traces.left();
        assert!(left.iter().any(|path| path.starts_with("/proc")), "no processes in {left:?}");
        assert!(left.iter().any(|path| path.starts_with("/sys")), "no cgroups in {left:?}");
        traces
    }

    fn left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        for process in fs::read_dir("/proc").unwrap().flatten() {
            let [pid, mnt] =
                ["pid", "mnt"].map(|kind| fs::read_link(process.path().join("ns").join(kind)));
            // Without a mount namespace it is dead, and for the host's init to reap.
            let (Ok(pid), Ok(mnt)) = (pid, mnt) else { continue };
            if self.namespaces.contains(&pid) || self.namespaces.contains(&mnt) {
                left.push(process.path());
            }
        }
        self.find_cgroups(Path::new("/sys/fs/cgroup"), &mut left);
        left
    }

    fn find_cgroups(&self, folder: &Path, found: &mut Vec<PathBuf>) {
        // Other cgroups come and go meanwhile.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name() == *self.cgroup {
                found.push(entry.path());
            } else {
                self.find_cgroups(&entry.path(), found);
            }
        }
    }
}
