//! Users, and what can be done with them one by one.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use tq_worker::Prefix;

use crate::error::ApiError;
use crate::validation::{Profile, Rules};

/// A user as clients see one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct User {
    id: u64,
    #[serde(flatten)]
    profile: Profile,
}

/// All users, in memory.
#[derive(Debug, Default)]
pub(crate) struct Users {
    by_id: BTreeMap<u64, User>,
    last_id: u64,
}

impl Users {
    /// The users there are at the start, with ids from 1.
    pub(crate) fn seeded(profiles: Vec<Profile>) -> Self {
        let mut users = Self::default();
        for profile in profiles {
            users.add(profile);
        }
        users
    }

    fn add(&mut self, profile: Profile) -> User {
        self.last_id += 1;
        let user = User { id: self.last_id, profile };
        self.by_id.insert(user.id, user.clone());
        user
    }
}

type Shared = State<Arc<RwLock<Users>>>;

#[derive(Deserialize)]
pub(crate) struct Search {
    /// Part of a name or address, in any case.
    #[serde(default)]
    q: String,
    /// How many users are listed at most.
    #[serde(default = "hundred")]
    limit: usize,
}

fn hundred() -> usize {
    100
}

/// Some of the users that were found.
#[derive(Serialize)]
pub(crate) struct Found {
    /// How many there are, listed or not.
    total: usize,
    users: Vec<User>,
}

/// `GET /?q=&limit=`: the users whose name or address contains `q`.
pub(crate) async fn list(
    State(users): Shared,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Json<Found>, ApiError> {
    let Query(Search { q, limit }) = search?;
    let wanted = q.to_lowercase();
    let contains = |text: &str| text.to_lowercase().contains(&wanted);
    let users = users.read().unwrap_or_else(PoisonError::into_inner);
    let found: Vec<_> = users
        .by_id
        .values()
        .filter(|user| contains(&user.profile.name) || contains(&user.profile.email))
        .collect();
    let listed = found.iter().take(limit).copied().cloned().collect();
    Ok(Json(Found { total: found.len(), users: listed }))
}

/// `POST /`: adds a user; 201 with its `Location`.
pub(crate) async fn create(
    State(users): Shared,
    State(rules): State<Arc<Rules>>,
    prefix: Prefix,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let draft = serde_json::from_slice(&body?).map_err(|error| ApiError::bad_json(&error, 1))?;
    let profile = rules.check(draft)?;
    let user = users.write().unwrap_or_else(PoisonError::into_inner).add(profile);
    let location = prefix.url(&user.id.to_string());
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(user)))
}

/// `GET /{id}`
pub(crate) async fn read(
    State(users): Shared,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Json<User>, ApiError> {
    let Path(id) = id?;
    let users = users.read().unwrap_or_else(PoisonError::into_inner);
    users.by_id.get(&id).cloned().map(Json).ok_or_else(ApiError::not_found)
}

/// `DELETE /{id}`: 204.
pub(crate) async fn delete(
    State(users): Shared,
    id: Result<Path<u64>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path(id) = id?;
    let removed = users.write().unwrap_or_else(PoisonError::into_inner).by_id.remove(&id);
    removed.map(|_| StatusCode::NO_CONTENT).ok_or_else(ApiError::not_found)
}
