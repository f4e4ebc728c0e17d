//! What tqserver tells a worker in its environment.

use std::fmt;
use std::path::{Path, PathBuf};

/// Which of its two lives a worker leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// From the source tree; error pages show what went wrong.
    Dev,
    /// From a deployment.
    Prod,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dev => "dev",
            Self::Prod => "prod",
        })
    }
}

/// What tqserver tells a worker in its environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The worker's name (TQ_WORKER); the crate's when started by hand.
    pub name: String,
    /// The port on 127.0.0.1 to listen on (PORT, TQ_PORT); 0 lets the kernel choose.
    pub port: u16,
    /// Where tqserver mounts the worker (TQ_ROUTE), such as `/` or `/api/users`.
    pub route: String,
    /// The folder that has `private` and `public` (TQ_WORKER_BASE).
    pub base: PathBuf,
    /// The folder whose `private/templates` stand behind the worker's own (TQ_SHARED_BASE).
    /// Deployments have copies instead.
    pub shared: Option<PathBuf>,
    /// Development or production (TQ_MODE).
    pub mode: Mode,
    /// The deployment's commit (TQ_COMMIT); empty when started by hand.
    pub commit: String,
    /// Counts the starts of this worker (TQ_GENERATION); 0 when started by hand.
    pub generation: u64,
    /// Whether parsed templates are kept (TQ_CACHE_TEMPLATES); in production by default.
    pub cache_templates: bool,
}

/// Everything that is missing or wrong in the environment, at once.
#[derive(Debug, thiserror::Error)]
#[error(
    "{worker} cannot start: {}\ntqserver sets these. Started by hand? \
     PORT=9000 TQ_WORKER_BASE=workers/{worker} TQ_SHARED_BASE=workers/shared cargo run -p {worker}",
    problems.join("; ")
)]
pub struct SettingsError {
    worker: String,
    problems: Vec<String>,
}

impl Settings {
    /// What a worker has that nobody told anything: development mode, any free port, mounted at
    /// `/`. Tests start from this.
    pub fn by_hand(name: &str, base: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            port: 0,
            route: "/".to_owned(),
            base: base.into(),
            shared: None,
            mode: Mode::Dev,
            commit: String::new(),
            generation: 0,
            cache_templates: false,
        }
    }

    /// Reads the variables through `lookup`; an empty one counts as not set.
    ///
    /// # Errors
    /// All variables that are missing or make no sense.
    pub fn from_vars(
        name: &str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut vars = Vars { lookup, problems: Vec::new() };
        let port = vars.parsed("PORT").or_else(|| vars.parsed("TQ_PORT"));
        let base = vars.get("TQ_WORKER_BASE").map(PathBuf::from);
        let by_hand = Self::by_hand(name, base.clone().unwrap_or_default());
        let mode = match vars.get("TQ_MODE").as_deref() {
            None => by_hand.mode,
            Some("dev") => Mode::Dev,
            Some("prod") => Mode::Prod,
            Some(other) => {
                vars.problem(format!("TQ_MODE={other:?} is neither dev nor prod"), by_hand.mode)
            }
        };
        let settings = Self {
            name: vars.get("TQ_WORKER").unwrap_or(by_hand.name),
            port: port.unwrap_or(by_hand.port),
            route: vars.get("TQ_ROUTE").unwrap_or(by_hand.route),
            shared: vars.get("TQ_SHARED_BASE").map(PathBuf::from),
            mode,
            commit: vars.get("TQ_COMMIT").unwrap_or(by_hand.commit),
            generation: vars.parsed("TQ_GENERATION").unwrap_or(by_hand.generation),
            cache_templates: vars.parsed("TQ_CACHE_TEMPLATES").unwrap_or(mode == Mode::Prod),
            base: by_hand.base,
        };
        if vars.get("PORT").or_else(|| vars.get("TQ_PORT")).is_none() {
            vars.problems.push("PORT is not set".to_owned());
        }
        match base {
            None => vars.problems.push("TQ_WORKER_BASE is not set".to_owned()),
            Some(base) => vars.check_folder("TQ_WORKER_BASE", &base),
        }
        if vars.problems.is_empty() {
            return Ok(settings);
        }
        Err(SettingsError { worker: settings.name, problems: vars.problems })
    }
}

/// The environment, and what was found wrong with it so far.
struct Vars<L> {
    lookup: L,
    problems: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Vars<L> {
    fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    fn parsed<T: std::str::FromStr<Err: fmt::Display>>(&mut self, name: &str) -> Option<T> {
        let value = self.get(name)?;
        match value.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => self.problem(format!("{name}={value:?}: {error}"), None),
        }
    }

    fn check_folder(&mut self, name: &str, path: &Path) {
        if !path.is_dir() {
            self.problems.push(format!("{name}={}: no such folder", path.display()));
        }
    }

    fn problem<T>(&mut self, text: String, instead: T) -> T {
        self.problems.push(text);
        instead
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_vars("index", |name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn by_hand_a_port_and_a_folder_are_enough() {
        let settings = from(&[("PORT", "9000"), ("TQ_WORKER_BASE", "/")]).unwrap();
        assert_eq!((settings.port, settings.mode), (9000, Mode::Dev));
        assert_eq!((settings.name.as_str(), settings.route.as_str()), ("index", "/"));
        assert!(!settings.cache_templates);
    }

    #[test]
    fn takes_what_tqserver_sets() {
        let settings = from(&[
            ("TQ_PORT", "9001"),
            ("TQ_WORKER", "api_users"),
            ("TQ_ROUTE", "/api/users"),
            ("TQ_WORKER_BASE", "/"),
            ("TQ_MODE", "prod"),
            ("TQ_COMMIT", "a1b2c3d"),
            ("TQ_GENERATION", "3"),
        ])
        .unwrap();
        assert_eq!((settings.port, settings.generation), (9001, 3));
        assert_eq!((settings.name.as_str(), settings.route.as_str()), ("api_users", "/api/users"));
        assert_eq!((settings.commit.as_str(), settings.mode), ("a1b2c3d", Mode::Prod));
        assert!(settings.cache_templates, "production keeps templates unless told not to");
    }

    #[test]
    fn names_all_that_is_missing_and_what_to_type() {
        let message = from(&[("PORT", "")]).unwrap_err().to_string();
        assert_eq!(
            message,
            "index cannot start: PORT is not set; TQ_WORKER_BASE is not set\n\
             tqserver sets these. Started by hand? PORT=9000 TQ_WORKER_BASE=workers/index \
             TQ_SHARED_BASE=workers/shared cargo run -p index"
        );
    }

    #[test]
    fn one_problem_does_not_hide_another() {
        let message =
            from(&[("TQ_MODE", "test"), ("TQ_WORKER_BASE", "/")]).unwrap_err().to_string();
        assert!(message.contains("dev nor prod; PORT is not set\n"), "{message}");
    }

    #[rstest]
    #[case("PORT", "http", "PORT=\"http\": invalid digit")]
    #[case("TQ_MODE", "test", "TQ_MODE=\"test\" is neither dev nor prod")]
    #[case("TQ_GENERATION", "-1", "TQ_GENERATION=\"-1\"")]
    #[case("TQ_CACHE_TEMPLATES", "yes", "TQ_CACHE_TEMPLATES=\"yes\"")]
    #[case("TQ_WORKER_BASE", "/no/such", "TQ_WORKER_BASE=/no/such: no such folder")]
    fn refuses(#[case] name: &str, #[case] value: &str, #[case] expected: &str) {
        let message = from(&[(name, value), ("PORT", "9000"), ("TQ_WORKER_BASE", "/")])
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "{message}");
    }
}
