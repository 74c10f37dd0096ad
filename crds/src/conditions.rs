//! Conditions: which types there are, and how one is set without touching `lastTransitionTime` when nothing happened.
//! Reasons are always of the protocol's closed list. The time is an argument.

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use orion_protocol::Reason;

use crate::schema::MAX_MESSAGE;

macro_rules! types {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// The types of conditions.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ConditionType {
            $($(#[$meta])* $name,)*
        }

        impl ConditionType {
            /// Every type there is.
            pub const ALL: &'static [ConditionType] = &[$(ConditionType::$name,)*];

            /// The word, in CamelCase.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(ConditionType::$name => stringify!($name),)*
                }
            }
        }
    };
}

types! {
    /// OrionJob: spec, inputs and workload were tried and found good.
    Accepted,
    /// OrionJob: the escrow is locked.
    Funded,
    /// OrionJob: shards are out.
    Dispatched,
    /// OrionJob: every shard has an accepted verdict.
    Validated,
    /// OrionJob, Shard, ValidationRound: done and good. While it is Unknown its reason says where the object is.
    Succeeded,
    /// OrionJob: will not succeed.
    Failed,
    /// OrionJob: enough witnesses have seen the settlement in the log. Not there where no witness is asked for.
    Final,
    /// kstatus: not settled yet. True until an OrionJob is Dispatched.
    Reconciling,
    /// kstatus: failed, or cannot go on by itself.
    Stalled,
    /// Provider: registered on the ledger and ready on the broker.
    Ready,
    /// Provider: each of its workers runs kernels of users, kept from its files.
    RunsKernels,
    /// Provider: the device of each of its workers computes as it must, to the bit.
    Exact,
}

impl std::fmt::Display for ConditionType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Truth {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Not known (yet).
    Unknown,
}

impl Truth {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

/// `now` to the second, which is all that Kubernetes keeps: a value that is compared with what was read back must not
/// carry more.
pub fn to_time(now: Timestamp) -> Time {
    // Only rounding up at the very end of the calendar can fail, and this rounds down.
    Time(now.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc)).unwrap_or(now))
}

/// The condition of a type.
pub fn condition(conditions: &[Condition], of: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == of.as_str())
}

/// Whether the condition is there and True.
pub fn is_true(conditions: &[Condition], of: ConditionType) -> bool {
    condition(conditions, of).is_some_and(|condition| condition.status == Truth::True.as_str())
}

/// Sets a condition. `lastTransitionTime` moves to `now` only when the status changes; a message over 4 KiB is cut.
/// `true` when anything changed.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    of: ConditionType,
    status: Truth,
    reason: Reason,
    message: &str,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let mut new = Condition {
        last_transition_time: to_time(now),
        message: cut(message).to_owned(),
        observed_generation,
        reason: reason.as_str().to_owned(),
        status: status.as_str().to_owned(),
        type_: of.as_str().to_owned(),
    };
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        None => conditions.push(new),
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            if *old == new {
                return false;
            }
            *old = new;
        }
    }
    true
}

/// Takes a condition away; `true` if it was there.
pub fn remove_condition(conditions: &mut Vec<Condition>, of: ConditionType) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_ != of.as_str());
    conditions.len() != before
}

fn cut(message: &str) -> &str {
    let end = (0..=message.len().min(MAX_MESSAGE)).rev().find(|at| message.is_char_boundary(*at));
    &message[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 123_456_789).expect("in range")
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut have = Vec::new();
        let mut set = |status, reason, now| {
            let changed = set_condition(&mut have, ConditionType::Succeeded, status, reason, "", Some(1), at(now));
            (changed, have[0].last_transition_time.0.as_second(), have.len())
        };
        assert_eq!(set(Truth::Unknown, Reason::Preflight, 10), (true, 10, 1));
        assert_eq!(set(Truth::Unknown, Reason::Preflight, 11), (false, 10, 1));
        assert_eq!(set(Truth::Unknown, Reason::Computing, 12), (true, 10, 1));
        assert_eq!(set(Truth::True, Reason::Succeeded, 13), (true, 13, 1));
        assert!(is_true(&have, ConditionType::Succeeded));
        assert!(!is_true(&have, ConditionType::Accepted));
        assert!(remove_condition(&mut have, ConditionType::Succeeded));
        assert!(!remove_condition(&mut have, ConditionType::Succeeded));
    }

    #[test]
    fn a_condition_equals_itself_after_a_round_trip() {
        let mut have = Vec::new();
        set_condition(&mut have, ConditionType::Ready, Truth::True, Reason::Accepted, "ok", None, at(5));
        let back: Vec<Condition> = serde_json::from_value(serde_json::json!(have)).expect("conditions are JSON");
        assert_eq!(have, back);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let mut have = Vec::new();
        let long = format!("a{}", "é".repeat(MAX_MESSAGE));
        set_condition(&mut have, ConditionType::Accepted, Truth::False, Reason::CompileFailed, &long, None, at(0));
        assert_eq!(have[0].message.len(), MAX_MESSAGE - 1);
    }
}
