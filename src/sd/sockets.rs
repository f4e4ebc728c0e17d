//! Listening sockets: inherited from systemd by name (sd_listen_fds(3)), handed over by the process
//! before this one, or bound for a try-out.
//!
//! systemd passes descriptors in an order that varies between restarts, so only their names
//! (`FileDescriptorName=`, systemd.socket(5)) say what they are for.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};
use serde::{Deserialize, Serialize};

mod error;

pub use error::SocketError;

/// The first passed descriptor, SD_LISTEN_FDS_START of sd_listen_fds(3).
const FIRST_FD: RawFd = 3;

/// What systemd passed, by role.
#[derive(Debug)]
pub struct InheritedSockets {
    /// The public listeners, at least one; several with `ReusePort=yes` or several addresses.
    pub http: Vec<TcpListener>,
    /// The same for TLS, where its unit is enabled.
    pub https: Vec<TcpListener>,
    /// The control socket, where its unit is enabled.
    pub control: Option<UnixListener>,
    /// The dashboard's, where its unit is enabled; several with several addresses.
    pub admin: Vec<TcpListener>,
}

impl InheritedSockets {
    /// The same sockets once more, by other descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            http: self.http.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            https: self.https.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            control: self.control.as_ref().map(UnixListener::try_clone).transpose()?,
            admin: self.admin.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
        })
    }

    /// Each socket and what it is for, as [`Self::handed_over`] takes them.
    pub fn by_role(&self) -> impl Iterator<Item = (Role, BorrowedFd<'_>)> {
        let http = self.http.iter().map(|listener| (Role::Http, listener.as_fd()));
        let https = self.https.iter().map(|listener| (Role::Https, listener.as_fd()));
        let admin = self.admin.iter().map(|listener| (Role::Admin, listener.as_fd()));
        http.chain(https)
            .chain(admin)
            .chain(self.control.iter().map(|listener| (Role::Control, listener.as_fd())))
    }

    /// Takes sockets that another process had, with the same checks as those of systemd.
    pub fn handed_over(sockets: Vec<(Role, OwnedFd)>) -> Result<Self, SocketError> {
        assign(sockets)
    }
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The public listener.
    Http,
    /// The public listener for TLS.
    Https,
    /// The control socket.
    Control,
    /// The dashboard's.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "\"http\"",
            Self::Https => "\"https\"",
            Self::Control => "\"control\"",
            Self::Admin => "\"admin\"",
        })
    }
}

impl Role {
    fn from_name(index: usize, name: &str) -> Result<Self, SocketError> {
        match name {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            "control" => Ok(Self::Control),
            "admin" => Ok(Self::Admin),
            // "unknown" is what systemd itself calls a socket without a name.
            other => Err(SocketError::UnknownName { index: index + 1, name: other.to_owned() }),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Http | Self::Https | Self::Admin => "a listening TCP socket",
            Self::Control => "a listening unix stream socket",
        }
    }

    fn accepts(self, family: Option<AddressFamily>) -> bool {
        match self {
            Self::Http | Self::Https | Self::Admin => {
                matches!(family, Some(AddressFamily::Inet | AddressFamily::Inet6))
            }
            Self::Control => family == Some(AddressFamily::Unix),
        }
    }
}

/// The variables of the protocol, as they were when the process began.
#[derive(Debug, Clone, Default)]
pub struct ListenEnv {
    /// LISTEN_PID: whom the sockets are for.
    pub pid: Option<String>,
    /// LISTEN_FDS: how many there are.
    pub fds: Option<String>,
    /// LISTEN_FDNAMES: what they are called, separated by colons.
    pub names: Option<String>,
}

impl ListenEnv {
    /// The variables of this process. [`take_inherited`] removes two of them.
    pub fn capture() -> Self {
        let var = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self { pid: var("LISTEN_PID"), fds: var("LISTEN_FDS"), names: var("LISTEN_FDNAMES") }
    }

    /// The roles of the passed descriptors in their order; `None` when none were passed.
    fn roles(&self, own_pid: u32) -> Result<Option<Vec<Role>>, SocketError> {
        let Some(fds) = &self.fds else { return Ok(None) };
        let count: usize = fds.parse().map_err(|_| SocketError::BadCount(fds.clone()))?;
        if count == 0 {
            return Ok(None);
        }
        let pid = self.pid.as_deref().unwrap_or_default();
        if pid.parse() != Ok(own_pid) {
            return Err(SocketError::WrongPid { found: pid.to_owned(), own: own_pid });
        }
        let found = self.names.as_deref().unwrap_or_default();
        let names: Vec<_> = found.split(':').filter(|_| !found.is_empty()).collect();
        if names.len() != count {
            let found = found.to_owned();
            return Err(SocketError::NameCount { count, names: names.len(), found });
        }
        let roles = names.iter().enumerate().map(|(index, name)| Role::from_name(index, name));
        roles.collect::<Result<_, _>>().map(Some)
    }
}

/// Takes the sockets that systemd passed, or `None` when it passed none.
///
/// Call it once, before any thread is started and anything is opened: it removes LISTEN_PID and
/// LISTEN_FDS from the environment, and takes ownership of the descriptors they tell of.
pub fn take_inherited(env: &ListenEnv) -> Result<Option<InheritedSockets>, SocketError> {
    let Some(roles) = env.roles(std::process::id())? else { return Ok(None) };
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::with_capacity(roles.len());
    for (index, role) in roles.into_iter().enumerate() {
        let fd = passed.take_raw_fd(index).ok().flatten().filter(|fd| is_open(*fd));
        let Some(fd) = fd else {
            let fd = FIRST_FD.saturating_add(RawFd::try_from(index).unwrap_or(RawFd::MAX));
            let found = "not open".to_owned();
            return Err(SocketError::WrongKind { role, fd, expected: role.expected(), found });
        };
        // SAFETY: the descriptor is open, it was passed to this very process (LISTEN_PID, checked
        // above), and nobody else owns it: `ListenFd` hands each out once, and this function runs
        // before anything else is opened.
        #[allow(unsafe_code)]
        sockets.push((role, unsafe { OwnedFd::from_raw_fd(fd) }));
    }
    assign(sockets).map(Some)
}

fn is_open(fd: RawFd) -> bool {
    Path::new("/proc/self/fd").join(fd.to_string()).symlink_metadata().is_ok()
}

/// Puts each descriptor where its role belongs, once it was found to be what it should be.
fn assign(sockets: Vec<(Role, OwnedFd)>) -> Result<InheritedSockets, SocketError> {
    let names: Vec<_> = sockets.iter().map(|(role, _)| role.to_string()).collect();
    let (mut http, mut https) = (Vec::new(), Vec::new());
    let (mut control, mut admin) = (Vec::new(), Vec::new());
    for (role, fd) in sockets {
        check_kind(role, &fd)?;
        let prepare = |error| SocketError::Prepare { role, error };
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|errno| prepare(errno.into()))?;
        match role {
            Role::Http | Role::Https | Role::Admin => {
                let listener = TcpListener::from(fd);
                listener.set_nonblocking(true).map_err(prepare)?;
                let of_role = match role {
                    Role::Http => &mut http,
                    Role::Https => &mut https,
                    _ => &mut admin,
                };
                of_role.push(listener);
            }
            Role::Control => {
                let listener = UnixListener::from(fd);
                listener.set_nonblocking(true).map_err(prepare)?;
                control.push(listener);
            }
        }
    }
    if http.is_empty() {
        return Err(SocketError::NoHttp { found: names.join(", ") });
    }
    if control.len() > 1 {
        return Err(SocketError::SeveralControl(control.len()));
    }
    Ok(InheritedSockets { http, https, control: control.pop(), admin })
}

fn check_kind(role: Role, fd: &OwnedFd) -> Result<(), SocketError> {
    use std::os::fd::AsRawFd;
    let kind = getsockopt(fd, sockopt::SockType).ok();
    let listens = getsockopt(fd, sockopt::AcceptConn).unwrap_or(false);
    let family = getsockname::<SockaddrStorage>(fd.as_raw_fd()).ok().and_then(|addr| addr.family());
    if kind == Some(SockType::Stream) && listens && role.accepts(family) {
        return Ok(());
    }
    let found = match (kind, family) {
        (Some(kind), Some(family)) => {
            let listening = if listens { "a listening" } else { "a" };
            format!("{listening} {family:?} {kind:?} socket")
        }
        _ => "not a socket".to_owned(),
    };
    let expected = role.expected();
    Err(SocketError::WrongKind { role, fd: fd.as_raw_fd(), expected, found })
}

/// Listens by ourselves, for a try-out in the foreground.
pub fn bind_foreground(addr: SocketAddr) -> Result<TcpListener, SocketError> {
    let bind = || {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|error| SocketError::Bind { addr, error })
}

#[cfg(test)]
mod tests;
