//! Where tqserver's own log goes: to the journal with its fields where the journal listens, else
//! to stderr as lines for people.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt};

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// TQ_LOG or RUST_LOG cannot be understood.
    #[error("{variable}={value:?}: {error} (such as \"info\" or \"tqserver::rollout=debug,info\")")]
    Filter {
        /// Which variable.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        error: ParseError,
    },
    /// stderr is the journal, but the journal does not answer.
    #[error("the journal does not take messages: {0}")]
    Journal(io::Error),
    /// It was set up twice.
    #[error(transparent)]
    Init(#[from] TryInitError),
}

/// Sets up the log of this process. Call it once, first of all.
///
/// TQ_LOG, else RUST_LOG, selects what is logged (EnvFilter's syntax); by default `info`. In the
/// journal a field `worker` is `TQ_WORKER`, as in the messages of the workers themselves, so that
/// `journalctl TQ_WORKER=index` shows both sides of a story.
pub fn init() -> Result<(), LoggingError> {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let filter = filter(var)?;
    let output = if is_journal(var("JOURNAL_STREAM").as_deref(), io::stderr().as_fd()) {
        journal()?.boxed()
    } else {
        lines(io::stderr().is_terminal() && var("NO_COLOR").is_none(), io::stderr).boxed()
    };
    Registry::default().with(output.with_filter(filter)).try_init()?;
    Ok(())
}

fn filter(var: impl Fn(&str) -> Option<String>) -> Result<EnvFilter, LoggingError> {
    for variable in ["TQ_LOG", "RUST_LOG"] {
        if let Some(value) = var(variable) {
            return EnvFilter::try_new(&value).map_err(|error| LoggingError::Filter {
                variable,
                value,
                error,
            });
        }
    }
    Ok(EnvFilter::new("info"))
}

fn journal() -> Result<tracing_journald::Layer, LoggingError> {
    let layer = tracing_journald::layer().map_err(LoggingError::Journal)?;
    Ok(layer
        .with_field_prefix(Some("TQ".to_owned()))
        .with_syslog_identifier("tqserver".to_owned())
        // The journal's default view sets "notice" in bold, which everyday messages are not.
        .with_priority_mappings(PriorityMappings {
            info: Priority::Informational,
            debug: Priority::Debug,
            ..PriorityMappings::new()
        }))
}

fn lines<W>(colour: bool, writer: W) -> impl Layer<Registry> + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    fmt::layer().with_target(false).with_ansi(colour).with_writer(writer)
}

/// Whether the descriptor is the stream to the journal that JOURNAL_STREAM names by device and
/// inode (systemd.exec(5)). The variable alone says nothing: children inherit it also where their
/// output was redirected.
fn is_journal(journal_stream: Option<&str>, stream: impl AsFd) -> bool {
    let named = || {
        let (device, inode) = journal_stream?.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    };
    let actual = || {
        let file = File::from(stream.as_fd().try_clone_to_owned().ok()?);
        let metadata = file.metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    named().is_some_and(|named| Some(named) == actual())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_journal_is_recognised_by_device_and_inode() {
        let (stream, other) = UnixStream::pair().unwrap();
        let identity = |stream: &UnixStream| {
            let metadata = File::from(stream.as_fd().try_clone_to_owned().unwrap()).metadata();
            metadata.map(|m| format!("{}:{}", m.dev(), m.ino())).unwrap()
        };
        assert!(is_journal(Some(&identity(&stream)), &stream));
        assert!(!is_journal(Some(&identity(&other)), &stream));
        for garbage in [None, Some(""), Some("1"), Some("a:b"), Some("1:-1")] {
            assert!(!is_journal(garbage, &stream), "{garbage:?}");
        }
    }

    #[test]
    fn a_line_has_time_level_message_and_fields() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&written);
        let subscriber = Registry::default().with(lines(false, move || Shared(writer.clone())));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(worker = "index", "never switched");
        });
        let line = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert_eq!(rest.trim(), "WARN never switched worker=\"index\"");
    }

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[rstest]
    #[case::default(&[], "info")]
    #[case::rust_log(&[("RUST_LOG", "warn")], "warn")]
    #[case::own_variable_wins(&[("RUST_LOG", "warn"), ("TQ_LOG", "debug")], "debug")]
    fn the_nearest_variable_selects(#[case] vars: &[(&str, &str)], #[case] expected: &str) {
        let var = |name: &str| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(filter(var).unwrap().to_string(), expected);
    }

    #[test]
    fn a_bad_filter_names_its_variable() {
        let error = filter(|name| (name == "TQ_LOG").then(|| "a=b=c".to_owned())).unwrap_err();
        assert!(error.to_string().starts_with("TQ_LOG=\"a=b=c\""), "{error}");
    }
}
