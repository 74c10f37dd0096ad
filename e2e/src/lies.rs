//! The lies that `orion-liar` can tell. A job asks for one by the name of its first output, so that one liar serves all
//! scenarios at once and is honest to every other job.

use orion_protocol::task::TaskSpec;

/// A lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// As a worker: every unit is wrong.
    Everywhere,
    /// As a worker: in each shard the unit at this place is wrong.
    AtPlace(u64),
    /// As a validator: every vote is wrong.
    Votes,
    /// As a worker: commits, and stores nothing.
    KeepsOutputs,
    /// As a worker: commits to honest units, and stores other rows than those.
    SwapsOutputs,
    /// As a worker: says that the kernel fails.
    ClaimsFault,
}

const AT_PLACE: &str = "lie-at-place-";

impl Lie {
    /// What the first output of a job is called that asks for this lie.
    pub fn output(self) -> String {
        match self {
            Lie::Everywhere => "lie-everywhere".into(),
            Lie::AtPlace(place) => format!("{AT_PLACE}{place}"),
            Lie::Votes => "lie-votes".into(),
            Lie::KeepsOutputs => "lie-keeps-outputs".into(),
            Lie::SwapsOutputs => "lie-swaps-outputs".into(),
            Lie::ClaimsFault => "lie-claims-fault".into(),
        }
    }

    /// The lie that a job asks for.
    pub fn asked_by(spec: &TaskSpec) -> Option<Lie> {
        let name = spec.outputs.first()?.name.as_str();
        if let Some(place) = name.strip_prefix(AT_PLACE) {
            return place.parse().ok().map(Lie::AtPlace);
        }
        let all = [Lie::Everywhere, Lie::Votes, Lie::KeepsOutputs, Lie::SwapsOutputs, Lie::ClaimsFault];
        all.into_iter().find(|lie| lie.output() == name)
    }
}
