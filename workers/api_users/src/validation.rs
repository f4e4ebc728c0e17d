//! The rules of `private/config/validation.yaml`.

use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Problem};

/// What a user must be like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    name: NameRule,
    email: EmailRule,
    age: AgeRule,
}

/// Lengths in characters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NameRule {
    min_length: usize,
    max_length: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmailRule {
    max_length: usize,
    /// The domains there may be; any when empty.
    domains: Vec<String>,
}

/// In years.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgeRule {
    min: u32,
    max: u32,
}

/// A user as clients send one: nothing is certain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    name: Option<String>,
    email: Option<String>,
    age: Option<i64>,
}

/// A user who follows the rules, or comes from `users.yaml`.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Profile {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) age: u32,
}

impl Rules {
    /// Makes a profile of a draft.
    ///
    /// # Errors
    /// 422 with every field that breaks its rule.
    pub(crate) fn check(&self, draft: Draft) -> Result<Profile, ApiError> {
        let mut problems = Vec::new();
        let mut checked = |field, result: Result<(), String>| {
            if let Err(message) = result {
                problems.push(Problem { field: Some(field), message, ..Problem::default() });
            }
        };
        let name = draft.name.unwrap_or_default().trim().to_owned();
        checked("name", self.name.check(&name));
        let email = draft.email.unwrap_or_default();
        checked("email", self.email.check(&email));
        let age = draft.age.and_then(|age| u32::try_from(age).ok());
        checked("age", self.age.check(age));
        match age {
            Some(age) if problems.is_empty() => Ok(Profile { name, email, age }),
            _ => Err(ApiError::invalid(problems)),
        }
    }
}

impl NameRule {
    fn check(&self, name: &str) -> Result<(), String> {
        let (min, max) = (self.min_length, self.max_length);
        if (min..=max).contains(&name.chars().count()) {
            return Ok(());
        }
        Err(format!("must have {min} to {max} characters"))
    }
}

impl EmailRule {
    /// Only what tells an address from a slip: one that is real is known when mail arrives.
    fn check(&self, email: &str) -> Result<(), String> {
        let Some((local, domain)) = email.split_once('@') else {
            return Err("must be an address such as ada@example.org".to_owned());
        };
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '@';
        let dotted = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
        if local.is_empty() || !dotted || !(local.chars().chain(domain.chars()).all(plain)) {
            return Err("must be an address such as ada@example.org".to_owned());
        }
        if email.len() > self.max_length {
            return Err(format!("must not be longer than {} bytes", self.max_length));
        }
        let allowed = |name: &String| name.eq_ignore_ascii_case(domain);
        if !self.domains.is_empty() && !self.domains.iter().any(allowed) {
            return Err(format!("must be at {}", self.domains.join(" or ")));
        }
        Ok(())
    }
}

impl AgeRule {
    fn check(&self, age: Option<u32>) -> Result<(), String> {
        let (min, max) = (self.min, self.max);
        match age {
            Some(age) if (min..=max).contains(&age) => Ok(()),
            _ => Err(format!("must be a number from {min} to {max}")),
        }
    }
}
