//! The nats-server's configuration file, rendered from the identities' public keys: one renderer for the chart's key job,
//! for process mode and for tests. It holds no secret.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use orion_protocol::Name;

use crate::permissions::{Permissions, Role, is_free, permissions};

/// Larger messages are refused: the largest that Orion sends is a chunk of 128 KiB.
const MAX_PAYLOAD: &str = "1MB";

/// A user of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Public nkey, `U...`.
    pub nkey: String,
    /// What it may do.
    pub permissions: Permissions,
}

/// Where the server listens and stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Address and port for clients; port -1 takes a free one.
    pub listen: String,
    /// Address and port of the monitoring pages; keep it on localhost.
    pub http: Option<String>,
    /// Where streams are kept.
    pub store_dir: PathBuf,
    /// Bytes of memory that streams may take.
    pub max_memory_bytes: u64,
    /// Bytes of disk that streams may reserve.
    pub max_file_bytes: u64,
    /// Where the server writes the ports that it took.
    pub ports_file_dir: Option<PathBuf>,
}

/// Why no configuration was rendered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A provider with the platform's name.
    #[error("no provider may be called {0}")]
    ReservedName(Name),
    /// Two users with the same key, or two providers of one name.
    #[error("{0} is there twice")]
    Twice(String),
    /// Not a public user nkey.
    #[error("{0:?} is no public nkey of a user")]
    NotAKey(String),
    /// A text that cannot be written into the file.
    #[error("{0:?} holds a quote, a backslash or a control character")]
    Unquotable(String),
}

/// All identities of an installation.
pub fn users(operator: &str, platform: &str, providers: &[(Name, String)]) -> Result<Vec<User>, ConfigError> {
    let names: Vec<Name> = providers.iter().map(|(name, _)| name.clone()).collect();
    for (at, name) in names.iter().enumerate() {
        if !is_free(name) {
            return Err(ConfigError::ReservedName(name.clone()));
        }
        if names[..at].contains(name) {
            return Err(ConfigError::Twice(name.to_string()));
        }
    }
    let user = |nkey: &str, role| User { nkey: nkey.to_owned(), permissions: permissions(role) };
    let mut users = vec![user(operator, Role::Operator), user(platform, Role::Platform { providers: &names })];
    users.extend(providers.iter().map(|(name, nkey)| user(nkey, Role::Provider(name))));
    Ok(users)
}

/// The whole configuration file.
pub fn render(server: &Server, users: &[User]) -> Result<String, ConfigError> {
    let Server { listen, http, store_dir, max_memory_bytes, max_file_bytes, ports_file_dir } = server;
    let mut text = String::from("# Rendered by Orion from the identities' public keys.\n");
    let mut line = |key: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key}: {value}");
    };
    line("server_name", "orion");
    line("listen", &quoted(listen)?);
    if let Some(http) = http {
        line("http", &quoted(http)?);
    }
    if let Some(dir) = ports_file_dir {
        line("ports_file_dir", &quoted_path(dir)?);
    }
    line("max_payload", MAX_PAYLOAD);
    let _ = writeln!(
        text,
        "jetstream {{\n  store_dir: {}\n  max_memory_store: {max_memory_bytes}\n  max_file_store: {max_file_bytes}\n}}",
        quoted_path(store_dir)?
    );
    text.push_str("authorization {\n  users = [\n");
    for (at, user) in users.iter().enumerate() {
        if users[..at].iter().any(|other| other.nkey == user.nkey) {
            return Err(ConfigError::Twice(user.nkey.clone()));
        }
        render_user(&mut text, user)?;
    }
    text.push_str("  ]\n}\n");
    Ok(text)
}

fn render_user(text: &mut String, user: &User) -> Result<(), ConfigError> {
    let User { nkey, permissions: Permissions { publish, subscribe } } = user;
    let plain = nkey.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    if nkey.len() != 56 || !nkey.starts_with('U') || !plain {
        return Err(ConfigError::NotAKey(nkey.clone()));
    }
    let _ = writeln!(text, "    {{\n      nkey: {nkey}\n      permissions: {{");
    for (what, subjects) in [("publish", publish), ("subscribe", subscribe)] {
        let _ = writeln!(text, "        {what}: {{ allow: [");
        for subject in subjects {
            let _ = writeln!(text, "          {}", quoted(subject)?);
        }
        text.push_str("        ] }\n");
    }
    text.push_str("      }\n    }\n");
    Ok(())
}

fn quoted_path(path: &Path) -> Result<String, ConfigError> {
    quoted(&path.to_string_lossy())
}

fn quoted(text: &str) -> Result<String, ConfigError> {
    if text.contains(['"', '\\']) || text.contains(char::is_control) {
        return Err(ConfigError::Unquotable(text.to_owned()));
    }
    Ok(format!("\"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn reserved_and_repeated_names_are_refused() {
        let taken = users("U1", "U2", &[(name("platform"), "U3".into())]);
        assert_eq!(taken, Err(ConfigError::ReservedName(name("platform"))));
        let twice = users("U1", "U2", &[(name("a"), "U3".into()), (name("a"), "U4".into())]);
        assert_eq!(twice, Err(ConfigError::Twice("a".into())));
    }

    #[test]
    fn nothing_can_break_out_of_its_quotes() {
        for text in ["a\"b", "a\\b", "a\nb"] {
            assert_eq!(quoted(text), Err(ConfigError::Unquotable(text.into())));
        }
        let user = User { nkey: "U\" } evil".into(), permissions: Permissions::default() };
        let mut text = String::new();
        assert!(matches!(render_user(&mut text, &user), Err(ConfigError::NotAKey(_))));
    }
}
