//! The addresses of cluster number N, from the range that is set aside for benchmarks (198.18.0.0/15), which no real
//! network uses.

use std::path::Path;

/// Largest N: pods use 198.18.(100+N).0/24.
pub const NUMBER_MAX: u8 = 99;

/// Addresses and names of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The link on the host's side.
    pub link: String,
    /// The host on that link.
    pub host: String,
    /// The node.
    pub node: String,
    /// Pods, with the length of the prefix.
    pub pods: String,
    /// Services, with the length of the prefix.
    pub services: String,
}

impl Addresses {
    /// The addresses of cluster `number`, which is at most [`NUMBER_MAX`].
    pub fn of(number: u8) -> Self {
        let number = number.min(NUMBER_MAX);
        Self {
            link: format!("orion{number}"),
            host: format!("198.18.{number}.1"),
            node: format!("198.18.{number}.2"),
            pods: format!("198.18.{}.0/24", 100 + number),
            services: format!("198.19.{number}.0/24"),
        }
    }

    /// Whether the host has the link.
    pub fn link_exists(&self) -> bool {
        Path::new("/sys/class/net").join(&self.link).exists()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_never_share_an_address() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 1..=NUMBER_MAX {
            let Addresses { link, host, node, pods, services } = Addresses::of(number);
            for value in [link, host, node, pods, services] {
                assert!(seen.insert(value.clone()), "{value} is used twice");
            }
        }
    }
}
