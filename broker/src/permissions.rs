//! Who may do what on the broker, as data: the allow lists of each identity, nothing else is allowed. The server's
//! configuration, the tests and the programs' inboxes all come from here.
//!
//! Permissions match whole tokens, which is why streams and buckets are named after their provider exactly.

use orion_protocol::{Name, subjects};

use crate::layout::platform;

/// An identity on the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<'a> {
    /// Lays everything out, sends leases, reads answers.
    Operator,
    /// The platform's own worker; it reads the outputs of these providers.
    Platform {
        /// All providers.
        providers: &'a [Name],
    },
    /// A provider's workers.
    Provider(&'a Name),
}

/// Subjects that an identity may use.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Permissions {
    /// May publish to.
    pub publish: Vec<String>,
    /// May subscribe to.
    pub subscribe: Vec<String>,
}

/// Where an identity's replies go; nobody else may listen there. Upper case cannot be a provider's name.
pub fn inbox_prefix(role: Role<'_>) -> String {
    match role {
        Role::Operator => "_INBOX_OPERATOR".into(),
        Role::Platform { .. } => "_INBOX_PLATFORM".into(),
        Role::Provider(name) => format!("_INBOX_{name}"),
    }
}

/// Whether a provider may have this name: `platform` is taken.
pub fn is_free(provider: &Name) -> bool {
    *provider != platform()
}

/// The allow lists of an identity.
pub fn permissions(role: Role<'_>) -> Permissions {
    let mut subscribe = vec![format!("{}.>", inbox_prefix(role))];
    let publish = match role {
        Role::Operator => {
            subscribe.push(subjects::HEARTBEATS.into());
            vec!["$JS.API.>".into(), "work.>".into(), objects(subjects::BUCKET_IN)]
        }
        Role::Platform { providers } => {
            let mut publish = worker(&platform());
            publish.extend([subjects::BUCKET_HELD, subjects::BUCKET_RESULTS].map(objects));
            publish.extend([subjects::BUCKET_IN, subjects::BUCKET_HELD, subjects::BUCKET_RESULTS].map(read));
            publish.extend(providers.iter().map(|provider| read(&subjects::bucket_out(provider))));
            publish
        }
        Role::Provider(name) => {
            let out = subjects::bucket_out(name);
            let mut publish = worker(name);
            publish.extend([objects(&out), read(subjects::BUCKET_IN), read(&out)]);
            publish.push(format!("$JS.API.STREAM.INFO.{}", subjects::bucket_stream(&out)));
            publish
        }
    };
    Permissions { publish, subscribe }
}

/// What every worker does: pull its leases, acknowledge them, answer, live.
fn worker(name: &Name) -> Vec<String> {
    let work = subjects::work_stream(name);
    vec![
        format!("$JS.API.CONSUMER.MSG.NEXT.{work}.*"),
        format!("$JS.ACK.{work}.>"),
        subjects::commit_all(name),
        format!("hb.{name}.*"),
    ]
}

/// Writing into a bucket.
fn objects(bucket: &str) -> String {
    format!("$O.{bucket}.>")
}

/// Reading from a bucket by direct get.
fn read(bucket: &str) -> String {
    format!("$JS.API.DIRECT.GET.{}", subjects::bucket_stream(bucket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_allowed_exactly_this() {
        let name: Name = "p1".parse().unwrap();
        let have = permissions(Role::Provider(&name));
        let publish = [
            "$JS.API.CONSUMER.MSG.NEXT.WORK_p1.*",
            "$JS.ACK.WORK_p1.>",
            "commit.p1.*.*.*",
            "hb.p1.*",
            "$O.out_p1.>",
            "$JS.API.DIRECT.GET.OBJ_in",
            "$JS.API.DIRECT.GET.OBJ_out_p1",
            "$JS.API.STREAM.INFO.OBJ_out_p1",
        ];
        assert_eq!(have.publish, publish);
        assert_eq!(have.subscribe, ["_INBOX_p1.>"]);
    }

    #[test]
    fn nobody_but_the_operator_may_create_consumers_or_send_leases() {
        let providers: Vec<Name> = ["p1", "p2"].map(|name| name.parse().unwrap()).into();
        for role in [Role::Platform { providers: &providers }, Role::Provider(&providers[0])] {
            for subject in permissions(role).publish {
                assert!(!subject.starts_with("work.") && !subject.contains("CONSUMER.CREATE"), "{subject}");
                assert_ne!(subject, "$JS.API.>");
            }
        }
    }
}
