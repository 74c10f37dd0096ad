//! Work-group sizes: the job's own, or the platform's choice where the kernel cannot see it. Pure arithmetic.

use orion_protocol::task::KernelWorkload;
use orion_protocol::{Reason, Refusal};

use crate::device::Limits;

/// Chosen groups have at most so many work-items: enough for vector units and warps, and few distinct sizes to compile for.
const MAX_CHOSEN: u64 = 64;
/// Chosen groups leave at least so many of them for each compute unit, where there is work enough.
const GROUPS_PER_UNIT: u64 = 4;

/// How groups are sized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    /// As the job says.
    Fixed(Vec<u64>),
    /// As the platform likes, for launches on a device with these properties.
    Free {
        /// Work-items a group may have.
        limit: u64,
        /// The same, by dimension.
        limit_dims: [u64; 3],
        /// Work-groups that run at the same time.
        compute_units: u64,
    },
}

/// Which of the sizes that the platform may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The one for speed.
    Usual,
    /// Another one, to see that it makes no difference.
    Other,
}

impl Groups {
    /// The job's groups on a device with these limits, for a kernel that allows `kernel_limit` work-items in a group and whose text
    /// may demand a size.
    pub(crate) fn of(
        kernel: &KernelWorkload,
        limits: &Limits,
        kernel_limit: u64,
        required: Option<[u64; 3]>,
    ) -> Result<Groups, Refusal> {
        let limit = limits.group.min(kernel_limit).max(1);
        let Some(local) = &kernel.local_size else {
            return match required {
                Some(size) => {
                    let why =
                        format!("the kernel demands work-groups of {size:?} (reqd_work_group_size): set localSize");
                    Err(Refusal::new(Reason::ArgumentMismatch, why))
                }
                None => Ok(Groups::Free { limit, limit_dims: limits.group_dims, compute_units: limits.compute_units }),
            };
        };
        let padded = [0, 1, 2].map(|at| local.get(at).copied().unwrap_or(1));
        if required.is_some_and(|required| required != padded) {
            let why = format!("localSize is {local:?}, but the kernel demands {:?}", required.unwrap_or_default());
            return Err(Refusal::new(Reason::ArgumentMismatch, why));
        }
        let product = local.iter().fold(1_u64, |product, size| product.saturating_mul(*size));
        if product > limit || padded.iter().zip(limits.group_dims).any(|(size, most)| *size > most) {
            let why = format!("localSize {local:?}: the device allows {limit} work-items in a group of this kernel");
            return Err(Refusal::new(Reason::TooLarge, why));
        }
        Ok(Groups::Fixed(local.clone()))
    }

    /// The group size for a launch of `global`, which it divides; `None` where there is no other choice.
    pub(crate) fn size(&self, global: &[u64], choice: Choice) -> Option<Vec<u64>> {
        match (self, choice) {
            (Groups::Fixed(local), Choice::Usual) => Some(local.clone()),
            (Groups::Fixed(_), Choice::Other) => None,
            (Groups::Free { limit, limit_dims, compute_units }, Choice::Usual) => {
                let whole = global.iter().fold(1_u64, |product, size| product.saturating_mul(*size));
                let spread = whole / compute_units.saturating_mul(GROUPS_PER_UNIT).max(1);
                Some(largest(global, (*limit).min(MAX_CHOSEN).min(spread), *limit_dims))
            }
            (Groups::Free { limit, limit_dims, .. }, Choice::Other) => {
                let usual = self.size(global, Choice::Usual)?;
                let ones = vec![1; global.len()];
                let other = if usual == ones { largest(global, (*limit).min(MAX_CHOSEN), *limit_dims) } else { ones };
                (other != usual).then_some(other)
            }
        }
    }
}

/// The largest group of at most `most` work-items that divides `global`, filled from the first dimension on.
fn largest(global: &[u64], most: u64, limit_dims: [u64; 3]) -> Vec<u64> {
    let mut left = most.max(1);
    let mut local = Vec::with_capacity(global.len());
    for (size, limit) in global.iter().zip(limit_dims) {
        let bound = left.min(limit).min(*size).max(1);
        let divisor = (1..=bound).rev().find(|divisor| size % divisor == 0).unwrap_or(1);
        local.push(divisor);
        left /= divisor;
    }
    local
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(compute_units: u64) -> Groups {
        Groups::Free { limit: 4096, limit_dims: [4096; 3], compute_units }
    }

    fn check(groups: &Groups, global: &[u64], usual: &[u64], other: Option<&[u64]>) {
        assert_eq!(groups.size(global, Choice::Usual).as_deref(), Some(usual), "{global:?}");
        assert_eq!(groups.size(global, Choice::Other).as_deref(), other, "{global:?}");
    }

    #[test]
    fn free_groups_divide_the_launch_and_leave_work_for_every_core() {
        check(&free(2), &[16], &[2], Some(&[1]));
        check(&free(2), &[1024], &[64], Some(&[1]));
        check(&free(2), &[5], &[1], Some(&[5]));
        check(&free(2), &[64, 16], &[64, 1], Some(&[1, 1]));
        check(&free(1), &[3, 64], &[3, 16], Some(&[1, 1]));
    }

    #[test]
    fn there_is_no_other_choice_for_one_item_or_a_fixed_size() {
        check(&free(2), &[1], &[1], None);
        check(&free(2), &[67], &[1], None);
        check(&Groups::Fixed(vec![8]), &[16], &[8], None);
    }
}
