use std::io;

use super::*;
use rstest::rstest;
use std::net::UdpSocket;

fn env(pid: &str, fds: &str, names: &str) -> ListenEnv {
    let some = |text: &str| Some(text.to_owned()).filter(|text| text != "-");
    ListenEnv { pid: some(pid), fds: some(fds), names: some(names) }
}

#[test]
fn names_decide_in_any_order() {
    let roles = env("7", "5", "control:http:https:admin:http").roles(7).unwrap();
    let all = [Role::Control, Role::Http, Role::Https, Role::Admin, Role::Http];
    assert_eq!(roles, Some(all.to_vec()));
}

#[rstest]
#[case::nothing("-", "-", "-")]
#[case::zero("7", "0", "-")]
#[case::only_a_stray_pid("7", "-", "-")]
fn nothing_passed_is_no_error(#[case] pid: &str, #[case] fds: &str, #[case] names: &str) {
    assert!(matches!(env(pid, fds, names).roles(7), Ok(None)));
}

#[rstest]
#[case::other_pid("8", "1", "http", "LISTEN_PID is \"8\", but this process is 7")]
#[case::no_pid("-", "1", "http", "LISTEN_PID is \"\"")]
#[case::no_number("7", "one", "http", "\"one\"")]
#[case::negative("7", "-1", "http", "\"-1\"")]
#[case::no_names("7", "1", "-", "1 sockets, but LISTEN_FDNAMES names 0")]
#[case::too_few("7", "2", "http", "names 1: \"http\"")]
#[case::too_many("7", "1", "http:control", "names 2")]
#[case::unnamed("7", "1", "unknown", "socket 1 is called \"unknown\"")]
#[case::default_name("7", "1", "tqserver.socket", "FileDescriptorName=")]
#[case::empty_name("7", "2", "http:", "socket 2 is called \"\"")]
fn wrong_variables_are_refused_with_what_was_found(
    #[case] pid: &str,
    #[case] fds: &str,
    #[case] names: &str,
    #[case] says: &str,
) {
    let error = env(pid, fds, names).roles(7).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

fn tcp() -> OwnedFd {
    TcpListener::bind("127.0.0.1:0").unwrap().into()
}

fn unix(dir: &tempfile::TempDir, name: &str) -> OwnedFd {
    UnixListener::bind(dir.path().join(name)).unwrap().into()
}

#[test]
fn listeners_arrive_ready_for_an_event_loop() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second, tls, control) = (tcp(), tcp(), tcp(), unix(&dir, "c"));
    for fd in [&first, &second, &tls, &control] {
        // As systemd passes them.
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    }
    let passed =
        [(Role::Http, first), (Role::Https, tls), (Role::Control, control), (Role::Http, second)];
    let sockets = assign(passed.into()).unwrap();
    assert_eq!((sockets.http.len(), sockets.https.len()), (2, 1));
    let roles: Vec<_> = sockets.by_role().map(|(role, _)| role).collect();
    assert_eq!(roles, [Role::Http, Role::Http, Role::Https, Role::Control]);
    let control = sockets.control.unwrap();
    assert_eq!(control.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    for listener in sockets.http.iter().chain(&sockets.https) {
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let flags = fcntl(listener, FcntlArg::F_GETFD).unwrap();
        assert_eq!(FdFlag::from_bits_retain(flags), FdFlag::FD_CLOEXEC);
    }
}

#[rstest]
#[case::datagram(Role::Http, UdpSocket::bind("127.0.0.1:0").unwrap().into(), "Datagram")]
#[case::file(Role::Http, tempfile::tempfile().unwrap().into(), "is not a socket")]
#[case::unix_as_https(
    Role::Https,
    std::os::unix::net::UnixStream::pair().unwrap().0.into(),
    "must be a listening TCP socket"
)]
#[case::tcp_as_control(Role::Control, tcp(), "is a listening Inet Stream socket")]
#[case::connected(
    Role::Control,
    std::os::unix::net::UnixStream::pair().unwrap().0.into(),
    "is a Unix Stream socket"
)]
fn a_socket_of_another_kind_is_refused(
    #[case] role: Role,
    #[case] fd: OwnedFd,
    #[case] says: &str,
) {
    let error = assign(vec![(role, fd), (Role::Http, tcp())]).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn a_unix_socket_is_never_taken_for_the_public_one() {
    let dir = tempfile::tempdir().unwrap();
    let error = assign(vec![(Role::Http, unix(&dir, "h"))]).unwrap_err();
    assert!(matches!(error, SocketError::WrongKind { role: Role::Http, .. }), "{error}");
}

#[test]
fn one_public_listener_is_needed_and_one_control_socket_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let error = assign(vec![(Role::Control, unix(&dir, "a"))]).unwrap_err();
    assert!(matches!(error, SocketError::NoHttp { .. }), "{error}");
    let two = [unix(&dir, "b"), unix(&dir, "c")].map(|fd| (Role::Control, fd));
    let error = assign(two.into_iter().chain([(Role::Http, tcp())]).collect()).unwrap_err();
    assert!(matches!(error, SocketError::SeveralControl(2)), "{error}");
}

/// Runs in a process of its own: descriptors and variables are the whole process's.
#[test]
#[ignore = "started by descriptors_are_taken_from_the_environment"]
fn child() {
    let sockets = take_inherited(&ListenEnv::capture()).unwrap().unwrap();
    let addr = sockets.http[0].local_addr().unwrap();
    assert_eq!(addr.to_string(), std::env::var("EXPECTED").unwrap());
    assert!(std::env::var_os("LISTEN_FDS").is_none(), "left for children to stumble over");
}

/// `count` and `names` as given, the listener as descriptor 3.
fn run_child(count: &str, names: &str) -> std::process::Output {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", r#"exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$0" "$@""#]);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "sd::sockets::tests::child"]);
    command.env("LISTEN_FDS", count).env("LISTEN_FDNAMES", names);
    command.env("EXPECTED", listener.local_addr().unwrap().to_string());
    command.stdin(OwnedFd::from(listener)).output().unwrap()
}

#[test]
fn descriptors_are_taken_from_the_environment() {
    let output = run_child("1", "http");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_descriptor_that_is_not_there_is_named() {
    let names = ["http"; 100].join(":");
    let output = run_child("100", &names);
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && told.contains("not open"), "{output:?}");
}

#[test]
fn a_taken_address_says_what_to_do() {
    let first = bind_foreground("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = bind_foreground(first.local_addr().unwrap()).unwrap_err().to_string();
    assert!(error.contains("another program listens there"), "{error}");
}
