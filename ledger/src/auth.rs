//! Who may ask for what: a token in the header `Orion-Token` stands for a role. Not `Authorization`, which the API server's proxy
//! keeps for itself.
//!
//! Roles keep strangers from costing the ledger time; they keep nothing secret. Transactions carry their signatures, and what
//! `/v1` answers follows from the log, whose tiles are open to all.

use std::path::Path;

use orion_protocol::Digest;
use orion_protocol::bytes::unhex;
use orion_protocol::ledger::api::{MAX_TOKEN_BYTES, TOKEN_HEADER};
use subtle::{Choice, ConstantTimeEq as _};

/// A file of tokens has no more lines.
const MAX_LINES: usize = 64;
/// A file of tokens is not longer, in bytes.
const MAX_FILE_BYTES: usize = 16 * 1024;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Submits transactions, and reads.
    Submit,
    /// Reads balances, jobs, histories and exports.
    Read,
    /// Reads metrics.
    Metrics,
}

impl Role {
    const ALL: [Role; 3] = [Role::Submit, Role::Read, Role::Metrics];

    /// The word, as files and metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Submit => "submit",
            Role::Read => "read",
            Role::Metrics => "metrics",
        }
    }

    fn covers(self, needed: Role) -> bool {
        self == needed || (self, needed) == (Role::Submit, Role::Read)
    }

    /// What a path is for; `None` is open to all: the log itself, where it stands, whose keys it follows, and whether the process is
    /// well. Everything below `/v1` that is not named here takes a reader's token.
    pub(crate) fn needed(path: &str) -> Option<Role> {
        match path {
            "/metrics" => Some(Role::Metrics),
            "/v1/transactions" => Some(Role::Submit),
            "/v1/head" | "/v1/keys" | "/v1/witnesses" => None,
            _ => path.starts_with("/v1/").then_some(Role::Read),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a file gives no tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read the tokens in {path}")]
    File {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line that names no token.
    #[error("tokens, line {0}: expected a role (submit, read, metrics) and the SHA3-256 of its token in 64 hex digits")]
    Line(usize),
    /// Over the bound.
    #[error("tokens: more than {MAX_LINES} lines, or {MAX_FILE_BYTES} bytes")]
    TooMany,
    /// Nobody could ask anything.
    #[error("tokens: there is none; leave --tokens out to serve everybody")]
    Empty,
}

/// Why a request is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error(
        "this takes a token for {0}, in the header {TOKEN_HEADER}: `orion` reads it from ORION_LEDGER_TOKEN or the Secret \
         orion-ledger-token-{0}, the operator from the file that ORION_LEDGER_TOKEN_FILE names"
    )]
    Missing(Role),
    #[error("the token is not known here: this takes one for {0}, as the Secret orion-ledger-token-{0} has it now")]
    Unknown(Role),
    #[error("the token is for something else: this takes one for {0}")]
    OtherRole(Role),
}

impl Denied {
    /// The word that metrics have for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Denied::Missing(_) => "missing",
            Denied::Unknown(_) => "unknown",
            Denied::OtherRole(_) => "other-role",
        }
    }

    /// What was asked for.
    pub(crate) fn needed(self) -> Role {
        let (Denied::Missing(role) | Denied::Unknown(role) | Denied::OtherRole(role)) = self;
        role
    }
}

/// Who is let in. Of a token only the digest is known.
#[derive(Clone, Debug)]
pub struct Tokens(Vec<(Role, Digest)>);

impl Tokens {
    /// Reads a file: see [`Tokens::parse`].
    pub fn read(path: &Path) -> Result<Tokens, TokensError> {
        let on_disk = |source| TokensError::File { path: path.display().to_string(), source };
        Tokens::parse(&std::fs::read_to_string(path).map_err(on_disk)?)
    }

    /// A role and a digest a line. A role may have several tokens, so that one can replace another; what follows a `#` is for
    /// people.
    pub fn parse(text: &str) -> Result<Tokens, TokensError> {
        if text.len() > MAX_FILE_BYTES || text.lines().count() > MAX_LINES {
            return Err(TokensError::TooMany);
        }
        let mut tokens = Vec::new();
        for (at, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let (role, digest) = match words.as_slice() {
                [] => continue,
                [role, digest] => (Role::ALL.into_iter().find(|one| one.as_str() == *role), unhex::<32>(digest).ok()),
                _ => (None, None),
            };
            tokens.push((role.ok_or(TokensError::Line(at))?, Digest(digest.ok_or(TokensError::Line(at))?)));
        }
        if tokens.is_empty() { Err(TokensError::Empty) } else { Ok(Tokens(tokens)) }
    }

    /// Whether whoever shows `token` may do what takes `needed`. How long this takes says nothing about the tokens.
    pub(crate) fn judge(&self, token: Option<&[u8]>, needed: Role) -> Result<(), Denied> {
        let token = token.ok_or(Denied::Missing(needed))?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Denied::Unknown(needed));
        }
        let shown = Digest::of(token);
        let (mut known, mut allowed) = (Choice::from(0), Choice::from(0));
        for (role, digest) in &self.0 {
            let same = digest.0.ct_eq(&shown.0);
            known |= same;
            allowed |= same & Choice::from(u8::from(role.covers(needed)));
        }
        match (bool::from(known), bool::from(allowed)) {
            (_, true) => Ok(()),
            (true, false) => Err(Denied::OtherRole(needed)),
            (false, false) => Err(Denied::Unknown(needed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_roles_and_digests_and_nothing_else() {
        let digest = Digest::of(b"secret");
        let good = format!("# made by hand\n\nsubmit {digest}\nread\t{digest} # the same\n");
        assert_eq!(Tokens::parse(&good).expect("it is one").0, [(Role::Submit, digest), (Role::Read, digest)]);
        for (text, line) in [
            (format!("submit {digest}\nwrite {digest}\n"), 2),
            (format!("{digest}\n"), 1),
            (format!("\nread {}\n", &digest.to_string()[1..]), 2),
            (format!("read {digest} {digest}\n"), 1),
            // The token itself, where its digest belongs.
            ("read secret\n".into(), 1),
        ] {
            assert!(matches!(Tokens::parse(&text), Err(TokensError::Line(at)) if at == line), "{text}");
        }
        assert!(matches!(Tokens::parse("# nobody\n"), Err(TokensError::Empty)));
        assert!(matches!(Tokens::parse(&good.repeat(17)), Err(TokensError::TooMany)));
    }

    #[test]
    fn what_is_not_named_takes_a_token() {
        let open = ["/checkpoint", "/tile/0/000", "/v1/head", "/v1/keys", "/v1/witnesses", "/livez", "/readyz"];
        for path in open {
            assert_eq!(Role::needed(path), None, "{path}");
        }
        for path in ["/v1/jobs", "/v1/proofs/1", "/v1/head/", "/v1/keys/", "/v1/checkpoint", "/v1/anything", "/v1/"] {
            assert_eq!(Role::needed(path), Some(Role::Read), "{path}");
        }
    }
}
